/** docs/alerts.yaml names metrics that a node has, and parts of the documentation that are there. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { NodeCounters } from '../src/node-counters.ts';
import { NodeMetrics } from '../src/node-metrics.ts';
import { someStatus } from './admin/operations-double.ts';

function documentText(name: string): string {
  return readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
}

const rules = documentText('alerts.yaml');

describe('the alert rules', () => {
  it('are about metrics that there are', async () => {
    const { text } = await new NodeMetrics(() => someStatus, new NodeCounters()).text();
    const metrics = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
    const named = [...rules.matchAll(/\braftseal_\w+/g)].map(([name]) => name);
    expect(named.length).toBeGreaterThan(8);
    for (const name of named) expect(metrics).toContain(name);
  });

  it('lead to headings of the operations manual', () => {
    const headings = [...documentText('operations.md').matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
      (title ?? '')
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );
    const links = [...rules.matchAll(/runbook_url: operations\.md#(\S+)/g)].map(([, link]) => link);
    expect(links).toHaveLength([...rules.matchAll(/- alert: /g)].length);
    for (const link of links) expect(headings).toContain(link);
  });
});
