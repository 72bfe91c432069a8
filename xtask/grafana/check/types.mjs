// Checks dashboards against Grafana's published types: node types.mjs FOLDER
//
// The types say what a Dashboard is, but know nothing of a panel's options, its field configuration, and the queries;
// those are checked each against the type of its kind of panel. Then faults are put in, and each must be found.
import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

const folder = process.argv[2];
const boards = fs.readdirSync(folder).filter((name) => name.endsWith('.json')).sort()
  .map((name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')));

const kinds = {
  timeseries: 'TimeSeries', stat: 'Stat', bargauge: 'BarGauge', heatmap: 'Heatmap', table: 'Table',
};
const without = new Set(['stat', 'bargauge']); // their panels have no configuration of fields

const prelude = `
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, VariableModel } from '@grafana/schema';
${Object.entries(kinds).map(([kind, name]) =>
  `import type * as ${kind} from '@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen';`,
).join('\n')}
// JSON has strings where the types have enums.
type Json<T> = T extends string ? (string extends T ? T : \`\${T}\`)
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Source = { type: 'prometheus'; uid: '\${datasource}' };
type Query = {
  refId: string; datasource: Source; expr: string; legendFormat: string; instant: boolean; range: boolean;
  format: 'time_series' | 'table' | 'heatmap'; editorMode: 'code' | 'builder';
};
// The published type has the fields of Grafana's own annotations only; these are those of the data source.
type Mark = Json<Omit<AnnotationQuery, 'target'>> & {
  expr: string; titleFormat: string; textFormat: string; tagKeys: string; step: string;
  target: { refId: string; expr: string; datasource: Source };
};
type Variable = Json<VariableModel> & { definition?: string };
`;

// A property by its name, or nothing.
const take = (object, ...names) => {
  const rest = { ...object };
  for (const name of names) delete rest[name];
  return rest;
};

function source(board) {
  const lines = [prelude];
  const check = (value, type) => lines.push(`(${JSON.stringify(value)}) satisfies ${type};`);
  check(take(board, 'panels', 'templating', 'annotations'), 'Json<Dashboard>');
  for (const variable of board.templating.list) check(variable, 'Variable');
  for (const mark of board.annotations.list) check(mark, 'Mark');
  for (const panel of board.panels) {
    if (panel.type === 'row') continue;
    const kind = kinds[panel.type] ? panel.type : 'never';
    check(take(panel, 'options', 'targets', 'fieldConfig'), 'Json<Omit<Panel, "options" | "fieldConfig">>');
    check(panel.options, `Json<${kind}.Options>`);
    for (const target of panel.targets) check(target, 'Query');
    check(take(panel.fieldConfig.defaults, 'custom'), 'Json<Omit<FieldConfig, "custom">>');
    const custom = without.has(panel.type) ? 'Record<string, never>' : `Partial<Json<${kind}.FieldConfig>>`;
    check(panel.fieldConfig.defaults.custom, custom);
    for (const { properties } of panel.fieldConfig.overrides) {
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) check({ [id.slice(7)]: value }, custom);
        else check({ [id]: value }, 'Json<Omit<FieldConfig, "custom">>');
      }
    }
  }
  return lines.join('\n');
}

// Where, and what instead. Each is something that Grafana would ignore, or show wrongly, without a word.
const first = (kind) => (board) => board.panels.find((panel) => panel.type === kind);
const faults = [
  ['a kind of panel that does not exist', (b) => { first('stat')(b).type = 'singlestat'; }],
  ['a wrong mode of the legend', (b) => { first('timeseries')(b).options.legend.displayMode = 'lists'; }],
  ['an option that does not exist', (b) => { first('timeseries')(b).options.legends = {}; }],
  ['a misspelt tooltip mode', (b) => { first('timeseries')(b).options.tooltip.mode = 'multiple'; }],
  ['a wrong style of lines', (b) => { first('timeseries')(b).fieldConfig.defaults.custom.drawStyle = 'lines'; }],
  ['a field option that does not exist', (b) => { first('timeseries')(b).fieldConfig.defaults.custom.lineWidht = 1; }],
  ['a wrong mode of stacking', (b) => { first('timeseries')(b).fieldConfig.defaults.custom.stacking.mode = 'stacked'; }],
  ['a wrong override of a field option', (b) => {
    first('timeseries')(b).fieldConfig.overrides.push({ matcher: { id: 'byName', options: 'x' },
      properties: [{ id: 'custom.lineStyle', value: { fill: 'dashed' } }] });
  }],
  ['a unit that is no text', (b) => { first('stat')(b).fieldConfig.defaults.unit = 7; }],
  ['a misspelt default', (b) => { first('stat')(b).fieldConfig.defaults.noValues = ''; }],
  ['a wrong mode of colour', (b) => { first('stat')(b).fieldConfig.defaults.color.mode = 'threshold'; }],
  ['a wrong mode of thresholds', (b) => { first('stat')(b).fieldConfig.defaults.thresholds.mode = 'relative'; }],
  ['no calculation', (b) => { delete first('stat')(b).options.reduceOptions.calcs; }],
  ['a wrong display of bars', (b) => { first('bargauge')(b).options.displayMode = 'bars'; }],
  ['a wrong format of a query', (b) => { first('table')(b).targets[0].format = 'tables'; }],
  ['a misspelt field of a query', (b) => { first('table')(b).targets[0].legend = 'x'; }],
  ['a wrong height of cells', (b) => { first('table')(b).options.cellHeight = 'small'; }],
  ['a fixed data source', (b) => { first('table')(b).targets[0].datasource.uid = 'P1'; }],
  ['a variable of no kind', (b) => { b.templating.list[1].type = 'label'; }],
  ['a wrong refresh', (b) => { b.templating.list[1].refresh = 5; }],
  ['a misspelt part of the dashboard', (b) => { b.schemaVersions = 39; }],
  ['a link of no kind', (b) => { b.links[0].type = 'dashboard'; }],
  ['a place without a width', (b) => { delete first('stat')(b).gridPos.w; }],
];

const files = new Map();
boards.forEach((board) => files.set(path.resolve(`good-${board.uid}.ts`), source(board)));
const fleet = boards.find((board) => board.uid === 'zctrace-fleet');
faults.forEach(([, spoil], number) => {
  const board = structuredClone(fleet);
  spoil(board);
  files.set(path.resolve(`fault-${number}.ts`), source(board));
});

// The oldest and the newest Grafana that the dashboards are for.
const versions = {
  11: { '@grafana/schema': ['./node_modules/grafana-schema-11/dist/esm/index.d.ts'], '@grafana/schema/*': ['./node_modules/grafana-schema-11/*'] },
  12: {},
};

function program(paths) {
  const options = {
    strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.ESNext, types: [], target: ts.ScriptTarget.ES2022,
    moduleResolution: ts.ModuleResolutionKind.Bundler, paths, pathsBasePath: process.cwd(), baseUrl: process.cwd(),
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (name) => files.has(name) || fileExists(name);
  host.readFile = (name) => files.get(name) ?? readFile(name);
  host.getSourceFile = (name, version, ...rest) => files.has(name)
    ? ts.createSourceFile(name, files.get(name), version) : getSourceFile(name, version, ...rest);
  return ts.createProgram([...files.keys()], options, host);
}

let failed = 0;
for (const [version, paths] of Object.entries(versions)) {
  const checked = program(paths);
  for (const name of files.keys()) {
    const found = ts.getPreEmitDiagnostics(checked, checked.getSourceFile(name));
    const fault = path.basename(name).match(/^fault-(\d+)/);
    if (fault && found.length === 0) {
      failed += 1;
      console.log(`Grafana ${version}: not found: ${faults[fault[1]][0]}`);
    }
    if (!fault && found.length > 0) {
      failed += 1;
      for (const one of found.slice(0, 20)) {
        const text = ts.flattenDiagnosticMessageText(one.messageText, '\n  ');
        console.log(`Grafana ${version}: ${path.basename(name)}: ${text}\n  in ${one.file?.text.slice(one.start, one.start + 160)}`);
      }
    }
  }
}
console.log(`${boards.length} dashboards, Grafana ${Object.keys(versions).join(' and ')}, ${faults.length} seeded faults, ${failed} failed`);
process.exit(failed || boards.length === 0 ? 1 : 0);
