// A dashboard on a page.
import 'uplot/dist/uPlot.min.css';
import { ThemeContext, createTheme } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import React from 'react';
import { createRoot } from 'react-dom/client';
import { frames } from './frames.js';
import { Panel } from './panels.jsx';

const GAP = 8;
const ROW = 38;

const Title = ({ children, theme }) => <div style={{ fontWeight: 500, fontSize: 16, color: theme.colors.text.primary, lineHeight: '38px', paddingLeft: 8 }}>{children}</div>;

window.draw = async ({ board, answers, span }, colours, width) => {
  const theme = createTheme({ colors: { mode: colours } });
  document.body.style.background = theme.colors.background.canvas;
  const column = width / 24;
  const place = ({ gridPos: { x, y, w, h } }) => ({
    position: 'absolute', left: x * column + GAP / 2, top: y * ROW, width: w * column - GAP, height: h * ROW - GAP,
  });
  const drawn = await Promise.all(board.panels.map(async (panel) => {
    const style = place(panel);
    const inner = panel.type === 'row' ? <Title theme={theme}>{panel.title}</Title>
      : <Panel panel={panel} frames={await frames(panel, answers, span, theme)} width={style.width} height={style.height} span={span} theme={theme} />;
    return <div key={panel.id} className={panel.type === 'row' ? 'row' : 'panel'} data-id={panel.id} style={style}>{inner}</div>;
  }));
  const bottom = Math.max(...board.panels.map(({ gridPos: { y, h } }) => (y + h) * ROW));
  const root = document.getElementById('root');
  Object.assign(root.style, { position: 'relative', width: `${width}px`, height: `${bottom}px` });
  createRoot(root).render(<ThemeContext.Provider value={theme}><GlobalStyles />{drawn}<PortalContainer /></ThemeContext.Provider>);
};
