/** `pnpm run docs:errors`: writes docs/errors.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorsDocument, errorsDocumentPath, readErrorTable } from './errors-document.ts';
import { repositoryRoot } from './repository-root.ts';

const path = join(repositoryRoot, errorsDocumentPath);
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, errorsDocument(readErrorTable(repositoryRoot)));
