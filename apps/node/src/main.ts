#!/usr/bin/env node
/** The `raftseal` command. */
import { program } from './cli/program.ts';
import { reportFailure } from './cli/report-failure.ts';

program().parseAsync(process.argv).catch(reportFailure);
