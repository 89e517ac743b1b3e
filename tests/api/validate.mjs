// Holds real answers against an OpenAPI document.
//
//   node tests/api/validate.mjs MODULES DOCUMENT ANSWERS OPERATIONS [POINTER JSON]
//
// MODULES is a node_modules with ajv. ANSWERS is a folder: its file `index` has a line a request, NUMBER METHOD PATH between
// tabs, and of each there are NUMBER.head and NUMBER.body (of the answer) and, if JSON was sent, NUMBER.sent. OPERATIONS has a
// line "METHOD /path" for each operation that the document must have. With POINTER its member there is JSON instead: an error
// that is planted.
//
// Every answer must be one that its operation names: status, type, headers, body; of those with 2xx also what was sent.
// Every operation must have been answered with 2xx, and every property that the schemas name been in some answer.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, documentFile, answers, operationsFile, pointer, planted] = process.argv.slice(2);
const require = createRequire(modules + "/");
const Ajv = require("ajv/dist/2020").default;
const document = JSON.parse(readFileSync(documentFile, "utf8"));
const METHODS = ["get", "post", "put", "delete", "patch"];
const failures = [];

function fail(what) {
  failures.push(what);
}

function escaped(part) {
  return part.replaceAll("~", "~0").replaceAll("/", "~1");
}

// The value at a JSON pointer, and what holds it.
function at(value, path) {
  return path.split("/").slice(1).reduce((inner, part) => inner?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], value);
}

function plant() {
  const cut = pointer.lastIndexOf("/");
  const holder = at(document, pointer.slice(0, cut));
  const name = pointer.slice(cut + 1).replaceAll("~1", "/");
  if (holder === undefined) throw new Error(`nothing at ${pointer}`);
  if (planted === "") delete holder[name];
  else holder[name] = JSON.parse(planted);
}
if (pointer !== undefined) plant();

// $ref is followed; where: the pointer of what it leads to.
function resolve(value, where) {
  while (value.$ref !== undefined) {
    where = value.$ref.slice(1);
    value = at(document, where);
  }
  return [value, where];
}

// Schemas

const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false });
require("ajv-formats").default(ajv);
ajv.addSchema(document, "document");
const compiled = new Map();

function validator(where) {
  if (!compiled.has(where)) compiled.set(where, ajv.compile({ $ref: `document#${encodeURI(where)}` }));
  return compiled.get(where);
}

function checkSchemas() {
  const checker = new Ajv({ strict: false });
  for (const [name, schema] of Object.entries(document.components.schemas))
    if (!checker.validateSchema(schema)) fail(`schema ${name}: ${checker.errorsText()}`);
}

// Properties that were in an answer, and whether with a value and with null. A kind's shapes count for those of all kinds.
const seen = new Map();

function place(where) {
  return where
    .replace(/^\/components\/schemas\/[a-z0-9_]+\.(?=page|row|fact|friends|finds)/, "/components/schemas/KIND.")
    .replace(/\/(friends|finds|new|repeats)\/properties\/[a-z0-9_]+$/, "/$1/properties/KIND");
}

function note(where, value) {
  const known = seen.get(place(where)) ?? { value: false, null: false };
  known[value === null ? "null" : "value"] = true;
  seen.set(place(where), known);
}

function walk(schema, where, value) {
  if (schema.$ref !== undefined) {
    const [inner, path] = resolve(schema, where);
    walk(inner, path, value);
  }
  for (const [i, one] of (schema.oneOf ?? []).entries())
    if (validator(`${where}/oneOf/${i}`)(value)) walk(one, `${where}/oneOf/${i}`, value);
  if (Array.isArray(value) && schema.items)
    for (const item of value) walk(schema.items, `${where}/items`, item);
  if (value === null || typeof value !== "object" || Array.isArray(value)) return;
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    if (!(name in value)) continue;
    const path = `${where}/properties/${escaped(name)}`;
    note(path, value[name]);
    walk(inner, path, value[name]);
  }
}

function checkBody(schemaAt, value, what) {
  const validate = validator(schemaAt);
  if (validate(value)) {
    walk(at(document, schemaAt), schemaAt, value);
    return;
  }
  const why = validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`).join("; ");
  fail(`${what}: ${why}: ${JSON.stringify(value).slice(0, 600)}`);
}

// Operations

function segments(path) {
  return path.split("/").map((part) => decodeURIComponent(part));
}

// The path of the document that is asked: without variable parts if there is one.
function findPath(path) {
  if (document.paths[path] !== undefined) return path;
  const asked = segments(path);
  return Object.keys(document.paths).find((known) => {
    const parts = known.split("/");
    return parts.length === asked.length && parts.every((part, i) => part.startsWith("{") || part === asked[i]);
  });
}

function readHead(file) {
  const blocks = readFileSync(file, "utf8").trim().split(/\r?\n\r?\n/);
  const [first, ...lines] = blocks[blocks.length - 1].split(/\r?\n/);
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  return [Number(first.split(" ")[1]), headers];
}

// Headers that say something of this answer; others are the same everywhere.
const TELLING = ["x-request-id", "etag", "retry-after", "www-authenticate", "content-disposition", "cache-control", "allow"];

function checkHeaders(response, responseAt, headers, what) {
  const named = new Map();
  for (const [name, header] of Object.entries(response.headers ?? {}))
    named.set(name.toLowerCase(), resolve(header, `${responseAt}/headers/${escaped(name)}`)[1]);
  for (const name of TELLING)
    if (headers.has(name) && !named.has(name)) fail(`${what}: header ${name} is not named`);
  if (!headers.has("x-request-id")) fail(`${what}: no X-Request-Id`);
  if (named.has("etag") && !headers.has("etag")) fail(`${what}: no ETag`);
  for (const [name, where] of named)
    if (headers.has(name) && !validator(`${where}/schema`)(headers.get(name)))
      fail(`${what}: header ${name}: ${headers.get(name)}`);
}

// The lines of a download may be sent again.
function checkLines(body, what) {
  for (const line of body.trim().split("\n")) {
    const fact = JSON.parse(line);
    checkBody(`/components/schemas/${fact.kind}.sent`, fact, what);
  }
}

function checkAnswer(response, responseAt, number, headers, isHead, what) {
  const body = readFileSync(`${answers}/${number}.body`, "utf8");
  const type = headers.get("content-type")?.split(";")[0];
  checkHeaders(response, responseAt, headers, what);
  if (response.content === undefined || isHead) {
    if (body !== "") fail(`${what}: a body that is not named`);
    return;
  }
  if (response.content[type] === undefined) fail(`${what}: type ${type} is not named`);
  else if (type === "application/json")
    checkBody(`${responseAt}/content/application~1json/schema`, JSON.parse(body), what);
  else if (body === "") fail(`${what}: an empty body`);
  else if (type === "application/x-ndjson") checkLines(body, what);
}

function checkParameters(operation, operationAt, url, what) {
  const known = new Map();
  for (const [i, parameter] of operation.parameters.entries()) {
    const [inner, where] = resolve(parameter, `${operationAt}/parameters/${i}`);
    if (inner.in === "query") known.set(inner.name, [inner, where]);
  }
  for (const name of new Set(url.searchParams.keys())) {
    if (!known.has(name)) {
      fail(`${what}: parameter ${name} is not named`);
      continue;
    }
    const [parameter, where] = known.get(name);
    const all = url.searchParams.getAll(name);
    const type = parameter.schema.type;
    const value = type === "array" ? all : type === "integer" ? Number(all[0]) : all[0];
    if (!validator(`${where}/schema`)(value)) fail(`${what}: parameter ${name} is not as its schema says`);
  }
  for (const [name, [parameter]] of known)
    if (parameter.required && !url.searchParams.has(name)) fail(`${what}: taken without the parameter ${name}`);
}

function readSent(number) {
  try {
    return readFileSync(`${answers}/${number}.sent`, "utf8");
  } catch {
    return undefined;
  }
}

const succeeded = new Set();

function check(number, method, target) {
  const url = new URL(target, "http://localhost");
  const path = findPath(url.pathname);
  const [status, headers] = readHead(`${answers}/${number}.head`);
  const what = `${method} ${target}: ${status}`;
  const isHead = method === "HEAD";
  if (path === undefined) {
    if (status !== 404) fail(`${what}: no such path, wanted 404`);
    checkAnswer(document.components.responses.default, "/components/responses/default", number, headers, isHead, what);
    return;
  }
  const name = isHead ? "get" : method.toLowerCase();
  const operation = document.paths[path][name];
  if (operation === undefined) {
    const allowed = METHODS.filter((one) => document.paths[path][one] !== undefined).map((one) => one.toUpperCase());
    const said = (headers.get("allow") ?? "").split(", ").filter((one) => one !== "HEAD");
    if (status !== 405 || said.sort().join() !== allowed.sort().join())
      fail(`${what}: no such method, wanted 405 and Allow ${allowed}, got ${headers.get("allow")}`);
    checkAnswer(document.components.responses.default, "/components/responses/default", number, headers, isHead, what);
    return;
  }
  const operationAt = `/paths/${escaped(path)}/${name}`;
  const known = operation.responses[status];
  if (known === undefined) {
    fail(`${what}: this status is not named`);
    return;
  }
  const [response, responseAt] = resolve(known, `${operationAt}/responses/${status}`);
  checkAnswer(response, responseAt, number, headers, isHead, what);
  if (status >= 300) return;
  succeeded.add(`${name} ${path}`);
  checkParameters(operation, operationAt, url, what);
  const sent = readSent(number);
  if (sent !== undefined)
    checkBody(`${operationAt}/requestBody/content/application~1json/schema`, JSON.parse(sent), `${what}, what was sent`);
}

// All together

function listOperations() {
  const list = [];
  for (const [path, item] of Object.entries(document.paths))
    for (const method of METHODS) if (item[method] !== undefined) list.push(`${method} ${path}`);
  return list;
}

function checkOperations() {
  const wanted = new Set(
    readFileSync(operationsFile, "utf8").trim().split("\n").map((line) => line.replace(/^[A-Z]+/, (method) => method.toLowerCase())),
  );
  for (const one of listOperations()) {
    if (!wanted.delete(one)) fail(`${one} is in the document, but not in the table of routes`);
    if (!succeeded.has(one)) fail(`${one} was never answered with 2xx`);
  }
  for (const one of wanted) fail(`${one} is not in the document`);
}

function properties(schema, where, out) {
  for (const [i, one] of (schema.oneOf ?? []).entries()) properties(one, `${where}/oneOf/${i}`, out);
  if (schema.items) properties(schema.items, `${where}/items`, out);
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    const path = `${where}/properties/${escaped(name)}`;
    out.set(place(path), inner);
    properties(inner, path, out);
  }
}

function takesNull(schema) {
  const [inner] = resolve(schema, "");
  return inner.enum?.includes(null) || (Array.isArray(inner.type) && inner.type.includes("null"));
}

// Properties that were in no answer, and those that were always null, are wrong: nobody has seen whether they are as named. Those
// that were never null are listed only: many are null while the database is away, or of another machine.
function checkSeen() {
  const all = new Map();
  for (const [name, schema] of Object.entries(document.components.schemas))
    properties(schema, `/components/schemas/${escaped(name)}`, all);
  for (const [where, schema] of all) {
    const known = seen.get(where);
    const short = where.replace("/components/schemas/", "").replaceAll("/properties/", ".").replaceAll("/items", "[]");
    if (known === undefined) fail(`${short} was in no answer`);
    else if (takesNull(schema) && !known.value) fail(`${short} was always null`);
    else if (takesNull(schema) && !known.null) console.log(`never null: ${short}`);
  }
}

function finish() {
  for (const one of failures) console.log(`WRONG ${one}`);
  console.log(
    `${count} answers, ${listOperations().length} operations, ${seen.size} properties, ${failures.length} wrong`,
  );
  process.exit(failures.length > 0 ? 1 : 0);
}

let count = 0;
checkSchemas();
if (failures.length > 0) finish(); // nothing can be held against them
for (const line of readFileSync(`${answers}/index`, "utf8").trim().split("\n")) {
  check(...line.split("\t"));
  count++;
}
checkOperations();
checkSeen();
finish();
