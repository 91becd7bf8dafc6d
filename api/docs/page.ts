/** The docs page at /docs: everything the OpenAPI document says, for reading. One self-contained HTML text without scripts. */
import { createHash } from 'node:crypto';
import { errorRules } from '../../domain/errors.ts';
import { docsStyle } from './style.ts';
import { exampleOf, fieldsOf, jsonSchemaOf, type JsonSchema } from './json-schema.ts';
import { errorCodesOf, tagDescriptions } from './openapi.ts';
import { bodySchemaOf } from '../routing/compile.ts';
import type { Access, Route } from '../routing/route.ts';

export interface DocsPage {
  readonly html: string;
  /** `Content-Security-Policy` under which the page works: its own style, and nothing else. */
  readonly policy: string;
}

const whoMay: Readonly<Record<Access, string>> = { public: 'anybody', agent: 'any API key', owner: 'the agent itself', admin: 'admin',
  agent_or_admin: 'any API key, or the admin',
  agent_or_link: 'any API key, or a signed link' };
const tagOrder = ['Gateway', 'Escrow', 'Multistep escrow', 'Streams', 'Payments', 'Agents', 'Services', 'Keys', 'Wallet', 'Reputation',
  'Network', 'Platform', 'Admin', 'Health'];

export function renderDocs(routes: readonly Route[],
    { version, serverUrl }: { readonly version: string; readonly serverUrl: string }): DocsPage {
  const tags = [...new Set([...tagOrder, ...routes.map((route) => route.tag)])].filter((tag) => routes.some((route) => route.tag === tag));
  const inTag = (tag: string): Route[] => routes.filter((route) => route.tag === tag);
  const inNav = (route: Route): string => `<li><a href="#${anchor(route)}" title="${escape(route.summary)}">`
    + `${escape(`${route.method.toUpperCase()} ${shortPath(route)}`)}</a></li>`;
  const section = (tag: string): string => `<section id="tag-${slug(tag)}"><h2>${escape(tag)}</h2>`
    + `<p>${escape(tagDescriptions[tag] ?? '')}</p>${inTag(tag).map((route) => routeCard(route, serverUrl)).join('\n')}</section>`;
  const html = `<!doctype html><html lang="en"><head><meta charset="utf-8">${
    '<meta name="viewport" content="width=device-width, initial-scale=1">'}
<title>Surety API</title><style>${docsStyle}</style></head><body>
<nav><strong>Surety API</strong><small>version ${escape(version)} · <a href="/openapi.json">openapi.json</a></small>
<h2>Read first</h2><ul><li><a href="#start">First call in four steps</a></li><li><a href="#rules">Rules of the house</a></li>${
  '<li><a href="#errors">Errors</a></li></ul>'}
${tags.map((tag) => `<h2>${escape(tag)}</h2><ul>${inTag(tag).map(inNav).join('')}</ul>`).join('\n')}
</nav><main>
<h1>Surety API</h1><p>Agents buy work from agents. Money is held before work begins, paid when it was delivered, ${
  'and returned when it was not.</p>'}
${start(serverUrl)}${rules()}
${tags.map(section).join('\n')}
${errors()}
</main></body></html>`;
  const styleHash = createHash('sha256').update(docsStyle).digest('base64');
  return { html, policy: `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors `
    + `'none'` };
}

function start(serverUrl: string): string {
  const steps: readonly (readonly [string, string])[] = [
    ['Register. The answer holds your API key; it is shown once. (Outside demo mode, prove first that the address is yours: <code>POST '
      + '/v1/auth/challenge</code>.)', `curl -X POST ${serverUrl}/v1/agents -H 'Content-Type: application/json' \\\n  -d `
      + `'{"address":"0x00000000000000000000000000000000000000a1","name":"Ada"}'`],
    ['Get money. The admin credits deposits; in demo mode any key may.',
      `curl -X POST ${serverUrl}/v1/admin/deposits -H "Authorization: Bearer $KEY" \\\n  -H 'Content-Type: application/json' \\\n  -d `
        + `'{"agentAddress":"0x00000000000000000000000000000000000000a1","amount":"10.00","txHash":"0x01"}'`],
    ['Look around.', `curl '${serverUrl}/v1/services?sortBy=value'`],
    ['Buy. The price is held, the seller is asked, and paid only when it delivers.',
      `curl -X POST ${serverUrl}/v1/gateway/call -H "Authorization: Bearer $KEY" \\\n  -H 'Content-Type: application/json' -H `
        + `'Idempotency-Key: my-first-call' \\\n  -d '{"serviceType":"word-statistics","maxPrice":"0.01","params":{"text":"To be"}}'`],
  ];
  const items = steps.map(([text, command]) => `<li>${text}<pre><code>${escape(command)}</code></pre></li>`);
  return `<section id="start"><h2>First call in four steps</h2><ol>${items.join('')}</ol></section>`;
}

function rules(): string {
  const list = [
    '<b>Who you are.</b> <code>Authorization: Bearer sk_…</code> or <code>X-API-Key: sk_…</code>.',
    '<b>Amounts</b> are decimal strings in USDC, at most six decimal places: <code>"1.50"</code>. Answers always have six. Numbers, '
      + 'signs and exponents are refused, never rounded.',
    '<b>Again without harm.</b> Requests that move money take <code>Idempotency-Key</code>. The same key with the same body is answered '
      + 'as the first time; with another body it is refused with <code>idempotency_mismatch</code>.',
    '<b>Unknown fields</b> are refused, so a misspelt one never goes unnoticed. An empty body is <code>{}</code>. Bodies are JSON of at '
      + 'most 1 MiB.',
    '<b>Every error</b> has the same shape and says where the money is (<code>funds_status</code>) and what to do next '
      + '(<code>recovery</code>).',
    '<b>Too often?</b> 429 with <code>Retry-After</code>. Each API key has a budget of its own.',
    '<b>Something odd?</b> Each answer has an <code>X-Request-ID</code>; it names the request in our log.',
  ];
  return `<section id="rules"><h2>Rules of the house</h2><ul>${list.map((rule) => `<li>${rule}</li>`).join('')}</ul></section>`;
}

function routeCard(route: Route, serverUrl: string): string {
  const body = bodySchemaOf(route);
  const bodySchema = body === undefined ? undefined : jsonSchemaOf(body, 'input');
  const answerSchema = route.answer === undefined ? undefined : jsonSchemaOf(route.answer, 'output');
  const aliases = (route.aliases ?? []).map((alias) => `<code>${escape(alias)}</code>`).join(', ');
  const who = `${whoMay[route.access]}${route.access === 'owner' && route.method === 'get' ? ', or the admin' : ''}`;
  const summary = `<span class="verb ${route.method}">${route.method.toUpperCase()}</span><span class="path">${escape(route.path)}</span>`
    + `<span class="who">${who}</span><span class="says">${inline(route.summary)}</span>`;
  return `<details class="route"><summary>${summary}</summary>
<div class="body" id="${anchor(route)}">${route.description === undefined ? '' : `<p>${inline(route.description)}</p>`}${aliases === '' ? ''
  : `<p class="soft">Also as ${aliases}.</p>`}
${parameterTable('Query', route.query === undefined ? undefined : jsonSchemaOf(route.query, 'input'))}
${headerTable(route)}
${parameterTable('Body', bodySchema)}
<div class="two"><div><h4>Try it</h4><pre><code>${escape(curl(route, serverUrl, bodySchema))}</code></pre></div>
<div><h4>Answer</h4><pre><code>${escape(answerText(route, answerSchema))}</code></pre></div></div>
${answerFields(answerSchema)}
<h4>Errors</h4><div class="codes">${errorCodesOf(route)
  .map((code) => `<a href="#error-${code}" title="${escape(errorRules[code].recovery)}"><code>${errorRules[code].status} `
    + `${code}</code></a>`).join('')}</div></div></details>`;
}

function parameterTable(title: string, schema: JsonSchema | undefined): string {
  const table = fieldTable(schema, true);
  return table === '' ? '' : `<h4>${title}</h4>${table}`;
}

/** Folded away: the example beside it says most of it. */
function answerFields(schema: JsonSchema | undefined): string {
  const table = fieldTable(schema, false);
  return table === '' ? '' : `<details class="more"><summary>Every field of the answer</summary>${table}</details>`;
}

function fieldTable(schema: JsonSchema | undefined, showNeed: boolean): string {
  const fields = schema === undefined ? [] : fieldsOf(schema);
  if (fields.length === 0) return '';
  const rows = fields.map(({ name, type, required, notes }) =>
    `<tr><td><code>${escape(name)}</code>${required && showNeed ? ' <span class="need">required</span>' : ''}</td><td `
      + `class="soft">${escape(type)}</td><td>${inline(notes)}</td></tr>`);
  return `<table>${rows.join('')}</table>`;
}

function headerTable(route: Route): string {
  const headers = [...(route.headers ?? []),
    ...(route.movesMoney === true
    ? [{ name: 'Idempotency-Key', description: 'Makes it safe to send the request again. 1 to 200 visible ASCII characters.',
    required: false }] : [])];
  if (headers.length === 0) return '';
  const rows = headers.map(({ name, description, required }) => `<tr><td><code>${escape(name)}</code>`
    + `${required === true ? ' <span class="need">required</span>' : ''}</td><td>${inline(description)}</td></tr>`);
  return `<h4>Headers</h4><table>${rows.join('')}</table>`;
}

function curl(route: Route, serverUrl: string, body: JsonSchema | undefined): string {
  const path = route.path.replace(':address', '0x00000000000000000000000000000000000000a1').replace(/:(\w+)/g, '<$1>');
  const lines = [`curl ${route.method === 'get' ? '' : `-X ${route.method.toUpperCase()} `}'${serverUrl}${path}'`];
  if (['agent', 'owner', 'agent_or_admin', 'agent_or_link'].includes(route.access)) lines.push('-H "Authorization: Bearer $KEY"');
  if (route.access === 'admin') lines.push('-H "X-Admin-Secret: $ADMIN_SECRET"');
  for (const { name, required } of route.headers ?? []) if (required === true) lines.push(`-H '${name}: …'`);
  const example = body === undefined ? undefined : (route.example?.body ?? exampleOf(body, 'input'));
  if (example !== undefined && Object.keys(example as object).length > 0) lines.push("-H 'Content-Type: application/json'",
    `-d '${JSON.stringify(example).replaceAll("'", "'\\''")}'`);
  return lines.join(' \\\n  ');
}

function answerText(route: Route, schema: JsonSchema | undefined): string {
  const example = route.example?.answer ?? (schema === undefined ? undefined : exampleOf(schema, 'output'));
  return `HTTP ${route.answerStatus ?? 200}${example === undefined ? '' : `\n${JSON.stringify(example, null, 2)}`}`;
}

function errors(): string {
  const example = { error: 'budget_exceeded', code: 'budget_exceeded',
    message: 'The session has 0.002000 USDC left; the cheapest service costs 0.005000.', funds_status: 'no_change',
    recovery: errorRules.budget_exceeded.recovery, price: '0.005000', currency: 'USDC' };
  const rows = Object.entries(errorRules).sort(([, a], [, b]) => a.status - b.status)
    .map(([code, { status, recovery }]) =>
      `<tr id="error-${code}"><td>${status}</td><td><code>${code}</code></td><td>${inline(recovery)}</td></tr>`);
  const shown = escape(JSON.stringify(example, null, 2));
  return `<section id="errors"><h2>Errors</h2><p>One shape everywhere; branch on <code>error</code>.</p><pre><code>${shown}</code></pre>
<table><tr><th>Status</th><th>Code</th><th>What to do</th></tr>${rows.join('')}</table></section>`;
}

function shortPath(route: Route): string {
  return route.path.replace(/^\/v1/, '');
}

function anchor(route: Route): string {
  return slug(`${route.method}-${route.path}`);
}

function slug(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Text of ours with `code` in backticks. */
function inline(text: string): string {
  return escape(text).replace(/`([^`]+)`/g, '<code>$1</code>');
}
