/**
 * The look of /docs. No scripts, no fonts and no pictures from elsewhere: the page works offline and its content policy allows nothing
 * else.
 */
export const docsStyle = `
:root { color-scheme: light dark; --ink:#1c2330; --soft:#5b6677; --line:#e3e7ee; --paper:#fff; --wash:#f6f8fb; --code:#f2f4f8;
  --accent:#3156d3; --get:#0b7a55; --post:#3156d3; --put:#a15c00; --delete:#b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8f0; --soft:#98a3b6; --line:#2b3342; --paper:#12161e; --wash:#171c26;
  --code:#1c2230; --accent:#8aa6ff; --get:#4cc79a; --post:#8aa6ff; --put:#e0a458; --delete:#f2847c; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin:0; font:15px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; color:var(--ink); background:var(--paper);
  display:grid; grid-template-columns:17rem minmax(0,1fr); }
a { color:var(--accent); text-decoration:none; } a:hover { text-decoration:underline; }
nav { position:sticky; top:0; height:100vh; overflow-y:auto; padding:1.5rem 1rem 3rem 1.5rem; border-right:1px solid var(--line);
  background:var(--wash); font-size:13.5px; }
nav strong { display:block; font-size:1.15rem; letter-spacing:-.01em; } nav small { color:var(--soft); }
nav h2 { font-size:.72rem; text-transform:uppercase; letter-spacing:.08em; color:var(--soft); margin:1.4rem 0 .3rem; }
nav ul { list-style:none; margin:0; padding:0; } nav li a { display:block; padding:.14rem 0; color:var(--ink); white-space:nowrap;
  overflow:hidden; text-overflow:ellipsis; }
main { max-width:60rem; padding:2.5rem 3rem 6rem; min-width:0; }
h1 { font-size:2rem; letter-spacing:-.02em; margin:0 0 .3rem; line-height:1.2; } h1 + p { font-size:1.08rem; color:var(--soft);
  margin-top:0; }
section > h2 { font-size:1.45rem; letter-spacing:-.01em; margin:3.2rem 0 .2rem; padding-top:1.2rem; border-top:1px solid var(--line); }
  section > h2 + p { color:var(--soft); margin-top:0; }
h4 { font-size:.78rem; text-transform:uppercase; letter-spacing:.06em; color:var(--soft); margin:1.2rem 0 .35rem; }
code, pre { font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; } code { background:var(--code); padding:.08em .35em;
  border-radius:4px; }
pre { background:var(--code); padding:.8rem 1rem; border-radius:8px; overflow-x:auto; margin:.4rem 0; } pre code { background:none;
  padding:0; }
table { border-collapse:collapse; width:100%; font-size:13.5px; margin:.3rem 0; } th { text-align:left; font-weight:600;
  color:var(--soft); font-size:12.5px; }
td, th { padding:.38rem .8rem .38rem 0; border-bottom:1px solid var(--line); vertical-align:top; } td:last-child {
  overflow-wrap:anywhere; } td code { white-space:nowrap; }
details.route { border:1px solid var(--line); border-radius:10px; margin:.7rem 0; background:var(--paper); } details.route[open] {
  box-shadow:0 2px 14px rgb(0 0 0 / 6%); }
details.route > summary { cursor:pointer; list-style:none; padding:.7rem 1rem; display:grid;
  grid-template-columns:4.2rem minmax(0,1fr) auto; gap:.2rem .8rem; align-items:baseline; }
details.route > summary::-webkit-details-marker { display:none; } summary .says { grid-column:2 / -1; color:var(--soft); font-size:14px; }
summary .path { font:600 14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; overflow-wrap:anywhere; }
.body { scroll-margin-top:5.5rem; padding:0 1rem 1rem; border-top:1px solid var(--line); } .two { display:grid;
  grid-template-columns:1fr 1fr; gap:0 1.2rem; } .two > * { min-width:0; } .two pre { white-space:pre-wrap; overflow-wrap:anywhere; }
details.more { margin:1rem 0 .2rem; } details.more > summary { cursor:pointer; color:var(--soft); font-size:13.5px; }
.verb { font:700 11.5px ui-monospace,monospace; text-align:center; border-radius:5px; padding:.18rem .4rem; color:var(--paper); } .get {
  background:var(--get); } .post { background:var(--post); } .put,.patch { background:var(--put); } .delete { background:var(--delete); }
.who { font-size:12px; color:var(--soft); border:1px solid var(--line); border-radius:99px; padding:.05rem .6rem; white-space:nowrap; }
.need { color:var(--delete); font-size:12px; } .soft { color:var(--soft); } .codes { display:flex; flex-wrap:wrap; gap:.35rem; }
  .codes a code { color:var(--ink); }
@media (max-width:60rem) { body { display:block; } nav { position:static; height:auto; max-height:45vh; border-right:0;
  border-bottom:1px solid var(--line); } main { padding:1.5rem 1.2rem 4rem; } .two { display:block; } }
`;
