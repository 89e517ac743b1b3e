--- accrete check: names what is wrong in an app's files, with line and way out. Reads the code, then runs its callbacks
--- over plain tables. The host calls static(), then declared() with what it could load, then report().
local json = require("accrete.json")

local host = ... -- app_dir, facts, suggest, json, part: host/script/lua_check.c

local check = { host = host, problems = {}, sampled = {}, texts = {} }

--- Lines of a file of the app, kept.
local function text_of(file)
  if check.texts[file] == nil then
    local handle = io.open(host.app_dir .. "/" .. file, "rb")
    check.texts[file] = handle and handle:read("*a") or ""
    if handle then
      handle:close()
    end
  end
  return check.texts[file]
end

local function line_at(text, place)
  return select(2, text:sub(1, place - 1):gsub("\n", "")) + 1
end

--- The first line of file where one of the words stands; 1 when none does.
local function locate(file, ...)
  local text = text_of(file)
  for i = 1, select("#", ...) do
    local word = select(i, ...)
    local place = word and text:find("%f[%w_]" .. word:gsub("%W", "%%%0") .. "%f[^%w_]")
    if place then
      return line_at(text, place)
    end
  end
  return 1
end

--- Adds a problem once: what the code shows is not told again when running it shows the same.
--- level: "error", "warning", "note" or "hint".
local function problem(level, rule, file, line, text, fix)
  for _, other in ipairs(check.problems) do
    local is_same = text:sub(1, #other.text) == other.text or other.rule == "global" and rule == "raises"
      or other.rule == "yield" and rule == "yield"
    if other.file == file and other.line == line and is_same then
      return
    end
  end
  table.insert(check.problems, { level = level, rule = rule, file = file, line = line, text = text, fix = fix })
end

--- Whether file has an error already, so that what follows from it need not be said.
local function has_error(file)
  for _, other in ipairs(check.problems) do
    if other.file == file and other.level == "error" then
      return true
    end
  end
  return false
end

local function did_you_mean(name, names)
  local near = host.suggest(tostring(name), names)
  return near and (", did you mean %q?"):format(near) or ""
end

--- File, line and words of a message as Lua makes it; paths as seen from the app's folder.
local function parse(message)
  message = tostring(message):gsub("\nstack traceback:.*", "")
  local file, line, words = message:match("^([^\n:]+%.lua):(%d+): (.*)")
  if not file then
    file, words = message:match("^([^\n:]+%.lua): (.*)")
  end
  if not file then
    return nil, nil, message
  end
  if file:sub(1, #host.app_dir + 1) == host.app_dir .. "/" then
    file = file:sub(#host.app_dir + 2)
  end
  return file, tonumber(line), words
end

-- What a message of the host wants to be done about it. The first pattern that fits counts.
local fixes = {
  { "unknown key", "key", nil },
  { "unknown value", "key", nil },
  { "at least one unique field", "unique", "add a field to `fields` (nullable fields and json cannot be unique)" },
  { "unique and nullable", "unique", "move the field from `nullable` to `fields`, or take it out of `unique`" },
  { "is a reserved word", "name", "rename it; Lua or the host needs this name for itself" },
  { "wanted a name like", "name", "lower case letters, digits and _, a letter first, at most 41" },
  { "wanted a type", "type", nil },
  { "monotone = true", "monotone", "say so if more friends never mean fewer finds, else look up by a field" },
  { "not among the unique", "unique", "name only fields in `shard` that are unique" },
  { "wanted keys like fields", "module", 'a kind is: return { fields = { { "NAME", "TYPE" } } }' },
  { "wanted a module that returns", "module", "end the file with: return M" },
  { "process_data", "callback", "write function M.process_data(data, friends..., found)" },
}

--- A problem that loading a module met.
local function load_problem(message)
  local file, line, words = parse(message)
  if not file then
    problem("error", "load", "accrete.yaml", 1, words)
    return
  end
  if has_error(file) then
    return -- syntax errors and globals were seen without loading
  end
  local rule, fix = "load", nil
  for _, known in ipairs(fixes) do
    if words:find(known[1], 1, true) then
      rule, fix = known[2], known[3]
      break
    end
  end
  local is_of_name = words:find("^wanted a name like") or words:find('^"[%w_]+" is a reserved word')
  if is_of_name then
    line, fix = 1, "rename the file; " .. fix:gsub("^rename it; ", "")
  elseif rule == "module" and file:find("^kinds/") then
    fix = 'a kind is: return { fields = { { "NAME", "TYPE" } } }'
  end
  if not line then
    local key, field = words:match("^([%a_]+)%.?([%w_]*)")
    line = locate(file, words:match('"([^"]+)"'), field ~= "" and field or key, "fields", "M")
  end
  problem("error", rule, file, line, words, fix)
end

check.text_of, check.line_at, check.locate, check.problem = text_of, line_at, locate, problem
check.has_error, check.did_you_mean, check.parse = has_error, did_you_mean, parse

for _, part in ipairs({ "code", "facts", "run", "sample", "real", "grow" }) do
  host.part("check_" .. part)(check)
end

local M = { load_problem = load_problem }

--- Reads the files: syntax, globals, what does not belong into a lifecycle. true: they can be loaded.
function M.static()
  for _, file in ipairs(host.files()) do
    check.read_code(file)
  end
end

--- Takes the kinds and lifecycles that could be loaded; runs them.
function M.declared(kinds, lifecycles)
  check.declare(kinds)
  for _, lifecycle in ipairs(lifecycles) do
    check.read_callbacks(lifecycle)
    check.sampled[lifecycle.name] = { name = lifecycle.name, examples = 0, facts = 0, steps = 0, runs = 0 }
  end
  for _, lifecycle in ipairs(lifecycles) do
    check.sample_examples(lifecycle)
  end
  check.grow(lifecycles, check.example_facts, "of the examples")
  if host.facts > 0 then
    for _, lifecycle in ipairs(lifecycles) do
      check.sample_facts(lifecycle)
    end
    check.grow(lifecycles, check.real_facts, "of the database")
  end
  for _, lifecycle in ipairs(lifecycles) do
    local counts = check.sampled[lifecycle.name]
    if counts.examples + counts.facts + counts.steps == 0 and not has_error(lifecycle.path) then
      problem("note", "sampled", lifecycle.path, 1, "not sampled: it has no examples" .. (lifecycle.module.monotone and
        ", so nothing shows that it is monotone" or ""),
        "add M.examples = { hit = { data = {...}, friends = { { {...} } }, found = { KIND = { {...} } } } }, "
          .. "or check with --facts 20 when there are facts")
    end
  end
end

local order = { error = 1, warning = 2, note = 3, hint = 4 }

--- All of it as JSON text.
function M.report(lifecycles)
  table.sort(check.problems, function(a, b)
    if a.level ~= b.level then
      return order[a.level] < order[b.level]
    elseif a.file ~= b.file then
      return a.file < b.file
    elseif a.line ~= b.line then
      return a.line < b.line
    end
    return a.text < b.text
  end)
  local list = {}
  for _, lifecycle in ipairs(lifecycles) do
    list[#list + 1] = check.sampled[lifecycle.name]
    list[#list].errors = has_error(lifecycle.path)
  end
  return json.encode({ problems = json.array(check.problems), lifecycles = json.array(list) })
end

return M
