// Draws dashboards: node draw.mjs CHROMIUM DATA... -- FOLDER
// Each DATA is a file with a dashboard and Prometheus's answers to its queries. Fails where a panel with data shows
// nothing, or something sticks out of its panel.
import fs from 'node:fs';
import path from 'node:path';
import esbuild from 'esbuild';
import puppeteer from 'puppeteer-core';

const [chromium, ...rest] = process.argv.slice(2);
const end = rest.indexOf('--');
const [files, folder] = [rest.slice(0, end), rest[end + 1]];
const WIDTH = 1400;

await esbuild.build({
  entryPoints: ['page.jsx'], bundle: true, outfile: 'page.js', format: 'iife', logLevel: 'error', jsx: 'transform',
  loader: { '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' }, external: ['fs', 'path'],
  alias: { 'react-custom-scrollbars-2': './scrollbars.js' },
});
fs.writeFileSync('page.html', `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="page.css"><style>
body { margin: 0; padding: 8px; font-family: Inter, "DejaVu Sans", sans-serif } </style><div id="root"></div><script src="page.js"></script>`);

const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--allow-file-access-from-files'] });
let failed = 0;
const judge = (good, what) => { if (!good) { failed += 1; console.log(what); } };

// What a panel shows: how many pixels of its charts have a colour, how much text, what sticks out.
const look = () => [...document.querySelectorAll('.panel')].map((panel) => {
  let coloured = 0;
  for (const canvas of panel.querySelectorAll('canvas')) {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width || 1, canvas.height || 1);
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b, a] = data.slice(i, i + 4);
      if (a > 40 && Math.max(r, g, b) - Math.min(r, g, b) > 40) coloured += 1;
    }
  }
  const box = panel.getBoundingClientRect();
  const out = [...panel.querySelectorAll('canvas, .uplot, [role="table"], section > div')].filter((inner) => {
    const { right, bottom, width } = inner.getBoundingClientRect();
    return width > 0 && (right > box.right + 2 || bottom > box.bottom + 2);
  });
  const cells = panel.querySelectorAll('[role="cell"], [role="gridcell"]').length;
  return { id: Number(panel.dataset.id), coloured, cells, text: panel.innerText, out: out.length, nothing: !!panel.querySelector('.nothing') };
});

for (const file of files) {
  const data = JSON.parse(fs.readFileSync(file, 'utf8'));
  for (const colours of ['dark', 'light']) {
    const page = await browser.newPage();
    page.on('pageerror', (error) => judge(false, `${path.basename(file)}, ${colours}: ${error.message}`));
    const height = 16 + 38 * Math.max(...data.board.panels.map(({ gridPos: { y, h } }) => y + h));
    await page.setViewport({ width: WIDTH + 16, height, deviceScaleFactor: 1 });
    await page.goto(`file://${path.resolve('page.html')}`);
    await page.evaluate((data, colours, width) => window.draw(data, colours, width), data, colours, WIDTH);
    await new Promise((done) => setTimeout(done, 1500));
    const name = data.board.uid.replace('zctrace-', '');
    await page.screenshot({ path: path.join(folder, `${name}-${colours}.png`), fullPage: true });
    const all = await page.evaluate(look);
    judge(all.length === data.board.panels.filter(({ type }) => type !== 'row').length, `${name}, ${colours}: ${all.length} panels`);
    for (const seen of all) {
      const panel = data.board.panels.find(({ id }) => id === seen.id);
      const filled = data.answers.some((answer) => answer.panel === seen.id && answer.data?.result.length);
      const what = `${name}, ${colours}, ${panel.title}`;
      judge(seen.text.includes(panel.title), `${what}: no title`);
      judge(seen.out === 0, `${what}: ${seen.out} parts stick out`);
      judge(seen.nothing !== filled, `${what}: ${filled ? 'has data and says that it has none' : 'is empty and does not say so'}`);
      if (!filled) continue;
      const shows = { timeseries: seen.coloured > 60, heatmap: seen.coloured > 200, table: seen.cells > 0 };
      judge(shows[panel.type] ?? seen.text.length > panel.title.length, `${what}: shows nothing (${seen.coloured} coloured pixels)`);
    }
    // Each row for itself, and the first two together: what the documentation shows.
    const starts = data.board.panels.filter(({ type }) => type === 'row').map(({ gridPos }) => gridPos.y * 38 + 4);
    starts.push(height);
    const cut = (file, from, to) => page.screenshot({ path: path.join(folder, `${name}-${colours}-${file}.png`),
      clip: { x: 0, y: from, width: WIDTH + 16, height: to - from } });
    for (let row = 0; row + 1 < starts.length; row += 1) await cut(`row-${row + 1}`, starts[row], starts[row + 1]);
    await cut('top', 0, starts[2]);
    await page.close();
  }
}
await browser.close();
console.log(`${files.length} dashboards in two themes, ${failed} failed`);
process.exit(failed || files.length === 0 ? 1 : 0);
