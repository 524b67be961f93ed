/*
 * The cutover: how the logs of a control shard and of data shards go from entries in the clear to
 * sealed ones, wave after wave, while leaders change, nodes crash and the raft DEK is rotated.
 *
 * Two nodes, a control shard (0) and two data shards (1: first wave, 2: second wave). A node applies
 * each log in order, writes what is about keys to its sidecar, and sets the wrap of a shard. What is
 * proposed travels: it was built from what its node knew, and lands or is fenced later.
 *
 * What is asserted:
 *   sealed    above the marker of a shard every entry is sealed, at or below it none is
 *   waves     no marker of the second wave lands before that of the first
 *   readable  an entry is never applied by a node that lacks the DEK it is under, nor a marker by
 *             one that has not applied the request
 *   agreed    every node has the cutover of a shard at the same index
 * and, by the absence of invalid end states, that every node comes to the end of every log.
 *
 * Each switch takes one part of the protocol away (-DNAME=0). Some of them may be missing alone,
 * because another one does for them; the others open a hole. README.md says which.
 */
#ifndef FENCE      /* an append lands in the term that it was built in only */
#define FENCE 1
#endif
#ifndef EXPECT     /* an append lands at the index that it was built for only */
#define EXPECT 1
#endif
#ifndef CATCHUP    /* a leader proposes once it has applied what it inherited */
#define CATCHUP 1
#endif
#ifndef GATE       /* a marker is proposed when nothing else is in flight, and nothing after it */
#define GATE 1
#endif
#ifndef INSTALL    /* followers set their wrap, too, as they apply a marker or a rotation */
#define INSTALL 1
#endif
#ifndef STARTUP    /* a node that starts sets the wraps that its sidecar calls for */
#define STARTUP 1
#endif
#ifndef SIDECAR    /* an applied index never gets ahead of the sidecar */
#define SIDECAR 1
#endif
#ifndef CONTROL    /* a marker waits until the control shard is applied as far as at its leader */
#define CONTROL 1
#endif
#ifndef DEKWAIT    /* an entry waits until the DEK that it is under has come */
#define DEKWAIT 1
#endif
#ifndef WAVES      /* a wave begins when the one before is complete */
#define WAVES 1
#endif
#ifndef OBEY       /* a marker counts whichever raft DEK is active where it is applied */
#define OBEY 1
#endif

#ifndef SHARDS
#define SHARDS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef ELECTIONS
#define ELECTIONS 2
#endif
#define NODES 2
#define LOG 3      /* entries of a log */
#define NONE 15

#define WRITE 1    /* anything that is no other kind */
#define MARKER 2   /* of shard 0: the request, which all other markers follow */
#define ROTATE 3

/* The agreed logs. `dek` is 0 for an entry in the clear. */
typedef Entry { byte kind; byte dek; byte named; byte control };
typedef Log { Entry entry[LOG]; byte length; byte cutover; byte term; byte leader };
Log log[SHARDS];

/* What a node knows of a shard. Sidecar: `cutover`, `recorded`. Volatile: the rest. */
typedef Replica {
  byte applied;   /* entries of the log */
  byte inherited; /* entries of the log when it became leader */
  byte cutover;
  byte wrap;      /* the DEK that it seals with; 0: in the clear */
  byte inFlight;
  bool gated
};
typedef Node { Replica replica[SHARDS]; byte deks; byte controlKnown };
Node node[NODES];

#define R node[n].replica[s]
#define L log[s]
#define E log[s].entry[at]
#define LEADS (L.leader == n && L.term == term)

inline lands(kind_, dek_, named_, control_) {
  d_step {
    if
    :: L.length < LOG && (!FENCE || LEADS) && (!EXPECT || L.length == at) ->
      if
      :: kind_ == MARKER && L.cutover == NONE ->
        assert(dek_ == 0);                                                   /* sealed */
        assert(s != 2 || log[1].cutover != NONE);                            /* waves */
        L.cutover = L.length
      :: else -> assert((dek_ != 0) == (L.cutover != NONE))                  /* sealed */
      fi;
      L.entry[L.length].kind = kind_;
      L.entry[L.length].dek = dek_;
      L.entry[L.length].named = named_;
      L.entry[L.length].control = control_;
      L.length++
    :: else
    fi
  }
}

inline installAll(node_) {
  for (each : 0 .. SHARDS - 1) {
    if
    :: node[node_].replica[each].cutover != NONE -> node[node_].replica[each].wrap = node[node_].deks
    :: else
    fi
  }
  each = 0
}

/* Applies the next entry of a shard: sidecar, then wrap, then the applied index. */
inline apply() {
  d_step {
    at = R.applied;
    assert(E.dek <= node[n].deks);                                           /* readable */
    assert((E.dek != 0) == (R.cutover != NONE && at > R.cutover));           /* sealed */
    assert(E.kind != MARKER || s == 0 || node[n].replica[0].cutover != NONE); /* readable */
    if
    :: E.kind == MARKER && R.cutover == NONE && (OBEY || E.named == node[n].deks) ->
      R.cutover = at;
      if :: INSTALL || L.leader == n -> R.wrap = node[n].deks :: else fi
    :: E.kind == MARKER && R.cutover == at && R.wrap == 0 ->
      /* Again, after a crash: the wrap converges. */
      if :: INSTALL || L.leader == n -> R.wrap = node[n].deks :: else fi
    :: E.kind == ROTATE ->
      if :: node[n].deks == 1 -> node[n].deks = 2 :: else fi;
      if :: INSTALL || L.leader == n -> installAll(n) :: else fi
    :: else
    fi;
    R.applied++;
    if :: s == 0 && node[n].controlKnown < R.applied -> node[n].controlKnown = R.applied :: else fi;
    if :: E.kind == MARKER -> assert(R.cutover == L.cutover) :: else fi;     /* agreed */
    at = 0
  }
}

#define NEXT log[s].entry[node[n].replica[s].applied]
#define MAY_APPLY \
  (R.applied < L.length && \
   (!DEKWAIT || NEXT.dek <= node[n].deks) && \
   (!CONTROL || s == 0 || NEXT.kind != MARKER || NEXT.control <= node[n].controlKnown))

/* One for each replica of a shard: apply is sequential in a shard, and free among shards. */
proctype applier(byte n; byte s) {
  byte at; byte each;
end:
  do
  :: atomic { MAY_APPLY -> apply() }
  od
}

/* A client's write, or a rotation, at whoever leads. */
proctype proposer(byte kind; byte s) {
  byte n; byte term; byte at; byte dek;
  atomic {
    n = L.leader;
    term = L.term;
    !R.gated && (!CATCHUP || R.applied >= R.inherited) || !LEADS || R.applied == LOG;
    if :: !LEADS || R.applied == LOG -> goto done :: else fi;
    R.inFlight++;
    at = R.applied;
    dek = R.wrap
  }
  lands(kind, dek, 0, 0);
  atomic { if :: LEADS -> R.inFlight-- :: else fi; n = 0; term = 0; at = 0; dek = 0 }
done:
  skip
}

#define DUE \
  (s == 0 || \
   (node[n].replica[0].cutover != NONE && \
    (s == 1 || !WAVES || node[n].replica[1].cutover != NONE)))

/* What a node does for a shard that is to be cut over, each time that it leads it. */
proctype coordinator(byte n; byte s) {
  byte term; byte at; byte control; byte named;
end:
  do
  :: atomic {
       L.leader == n && R.cutover == NONE && DUE && !R.gated && R.applied < LOG &&
       (!CATCHUP || R.applied >= R.inherited) ->
       term = L.term;
       R.gated = GATE
     }
     if
     :: GATE -> (R.inFlight == 0 || !LEADS)
     :: else
     fi;
     atomic {
       if
       :: LEADS && R.cutover == NONE -> at = R.applied; named = node[n].deks; control = node[n].controlKnown
       :: else -> goto left
       fi
     }
     lands(MARKER, 0, named, control);
     (R.cutover != NONE || !LEADS || R.applied == L.length);
left:
     atomic {
       if :: LEADS -> R.gated = false :: else fi;
       at = 0; term = 0; control = 0; named = 0
     }
  od
}

inline change_leader() {
  L.leader = 1 - L.leader;
  L.term++;
  node[L.leader].replica[s].inherited = L.length;
  node[L.leader].replica[s].inFlight = 0;
  node[L.leader].replica[s].gated = false
}

proctype elections(byte s; byte count) {
  do
  :: count > 0 -> atomic { count--; change_leader() }
  :: break
  od
}

/* A process ends, what it led goes to the other node, and it starts again from its disk. */
proctype crash(byte n) {
  byte s; byte each;
  atomic {
    for (s : 0 .. SHARDS - 1) {
      if :: L.leader == n -> change_leader() :: else fi;
      /* Of what was applied, any part may be durable; the rest is applied again. */
      do :: R.applied > 0 -> R.applied-- :: break od;
      R.wrap = 0;
      R.inFlight = 0;
      R.gated = false;
#if !SIDECAR
      /* The sidecar is written after the checkpoint: it may lack what the index says is done. */
      if
      :: R.cutover != NONE -> R.cutover = NONE
      :: true
      fi;
#endif
    }
    if :: STARTUP -> installAll(n) :: else fi
  }
}

/* When nothing moves any more: everything is applied everywhere, and every shard is cut over. */
proctype observer() {
  byte n; byte s;
  atomic {
    timeout ->
    for (n : 0 .. NODES - 1) {
      for (s : 0 .. SHARDS - 1) {
        assert(R.applied == L.length);
        assert(R.cutover != NONE && R.cutover == L.cutover);                 /* live, agreed */
        assert(!INSTALL || !STARTUP || R.wrap == node[n].deks)
      }
    }
  }
}

init {
  atomic {
    byte n; byte s;
    for (n : 0 .. NODES - 1) {
      node[n].deks = 1;
      for (s : 0 .. SHARDS - 1) { R.cutover = NONE }
    }
    for (s : 0 .. SHARDS - 1) { L.cutover = NONE }
    for (n : 0 .. NODES - 1) {
      for (s : 0 .. SHARDS - 1) { run applier(n, s); run coordinator(n, s) }
    }
    run proposer(WRITE, 1);
#if SHARDS > 2
    run proposer(WRITE, 2);
#endif
    run proposer(ROTATE, 0);
    run elections(1, ELECTIONS);
#if CRASHES
    run crash(1);
#endif
    run observer()
  }
}
