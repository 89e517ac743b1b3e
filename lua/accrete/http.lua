--- HTTP: routes in Lua, a coroutine for each request. Those of an app's routes/*.lua are served by accrete run; a plain
--- script serves its own by http.serve.
local C = require("accrete.http.c")
local errors = require("accrete.error")
local raise = require("accrete.error.c").raise
local json = require("accrete.json")
local log = require("accrete.log")

local M = {}

local routes = {} -- by the number that C knows them by
local places = {} -- "GET /orthos/{}" to the place that serves it
local database -- second argument of an app's handlers
local current -- the request whose coroutine runs
local running = {} -- set of requests that are not answered
local waiting = {} -- token to the request that waits for it
local last_token = 0
local armed_ms -- when C calls tick; nil: never

-- Answers -------------------------------------------------------------------------------------------------------------

local Answer, Failure = {}, {}
Failure.__index = Failure

function Failure.__tostring(self)
  return ("%d %s: %s"):format(self.status, self.code, self.message)
end

local function check_status(status, low, what)
  if type(status) ~= "number" or status % 1 ~= 0 or status < low or status > 599 then
    errors.raise("input", "%s: wanted a status of %d..599, got %s", what, low, tostring(status))
  end
end

local function make(kind, body, status, headers)
  return setmetatable({ status = status or 200, type = kind, body = body, headers = headers }, Answer)
end

--- An answer of plain text.
function M.text(text, status, headers)
  return make("text/plain; charset=utf-8", text, status, headers)
end

--- Rows of a kind look at themselves as others should see them; all else stays as it is.
local function present(value, depth)
  if type(value) ~= "table" or depth > 100 then
    return value
  end
  local class = getmetatable(value)
  if class and class.present then
    return class.present(value)
  end
  local copy
  for key, one in pairs(value) do
    local shown = present(one, depth + 1)
    if shown ~= one then
      if not copy then
        copy = {}
        for k, v in pairs(value) do
          copy[k] = v
        end
      end
      copy[key] = shown
    end
  end
  return copy and json.is_array(value) and json.array(copy) or copy or value
end

--- An answer of JSON: any value, also a text, a number or an empty list.
function M.json(value, status, headers)
  return make("application/json", json.encode(present(value, 1)), status, headers)
end

--- An answer that is written while it is sent: produce(write) is called when the handler has returned, and each
--- write(text) adds to the body. It waits while the client is behind, so that little is held however long the body is.
--- Plain text unless a header says otherwise. Until the first write an error is answered as any other; after it the
--- body is cut off, which the client sees.
function M.stream(produce, status, headers)
  if type(produce) ~= "function" then
    errors.raise("input", "http.stream: wanted a function(write), got a %s", type(produce))
  end
  local answer = make("text/plain; charset=utf-8", nil, status, headers)
  answer.produce = produce
  return answer
end

--- Ends the handler with an error of that status: { "error": { code, message, request } }. code is for programs, the
--- message for people; with more arguments it is a format.
function M.error(status, code, message, ...)
  check_status(status, 400, "http.error")
  if type(code) ~= "string" or not code:find("^[a-z][a-z0-9_]*$") then
    errors.raise("input", "http.error: wanted a code like \"not_found\", got %s", tostring(code))
  end
  message = select("#", ...) > 0 and tostring(message):format(...) or tostring(message)
  error(setmetatable({ status = status, code = code, message = message }, Failure), 0)
end

--- What a handler returned as an answer.
local function answer_of(first, body, headers)
  if getmetatable(first) == Answer then
    return first
  elseif type(first) == "string" then
    return M.text(first)
  elseif type(first) == "table" then
    return M.json(first)
  elseif first == nil then
    return M.text("", 204)
  elseif type(first) ~= "number" then
    errors.raise("input", "a route returns a text, a table, or a status, body and headers; got a %s", type(first))
  end
  check_status(first, 200, "a route's answer")
  if type(body) == "table" and getmetatable(body) ~= Answer then
    return M.json(body, first, headers)
  elseif type(body) == "function" then
    return M.stream(body, first, headers)
  elseif body ~= nil and type(body) ~= "string" then
    errors.raise("input", "a route's answer: wanted a text or a table as its body, got a %s", type(body))
  end
  return M.text(body or "", first, headers)
end

--- Adds the headers of an answer; returns its content type.
local function add_headers(request, answer)
  local kind = answer.type
  for name, value in pairs(answer.headers or {}) do
    name, value = tostring(name):lower(), tostring(value)
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or value:find("[%c]") then
      errors.raise("input", "a route's answer: wanted a header's name and a value of one line, got %q", name)
    elseif name == "content-type" then
      kind = value
    elseif name == "content-length" or name == "transfer-encoding" or name == "connection" then
      errors.raise("input", "a route's answer: the header %s is the server's", name)
    else
      C.add_header(request.handle, name, value)
    end
  end
  check_status(answer.status, 200, "a route's answer")
  return kind
end

local function send(request, answer)
  local kind = add_headers(request, answer)
  if type(answer.body) ~= "string" then
    errors.raise("input", "a route's answer: wanted a text as its body, got a %s", type(answer.body))
  end
  C.answer(request.handle, answer.status, answer.status ~= 204 and kind or nil, answer.body)
end

local function log_request(level, words, request, fields)
  fields.at, fields.request = "routes", C.id(request.handle)
  fields.route, fields.place = request.route.name, request.route.place
  log[level](words, fields)
end

--- A handler failed for a reason of its own: the log says which, the client gets the request's id.
local function answer_broken(request, err, trace)
  log_request("error", "a route failed", request, { error = tostring(err), trace = trace and trace:gsub("^\n*", "") })
  C.answer_error(request.handle, 500, "route_failed", "the route failed; the log tells why under this request's id")
end

--- A streamed answer that has begun can only be cut off.
local function cut_off(request, caught)
  local err = type(caught) == "table" and caught.err or caught
  if not C.is_left(request.handle) then
    log_request("error", "a route failed in the middle of its answer", request, {
      error = tostring(err), trace = type(caught) == "table" and caught.trace and caught.trace:gsub("^\n*", "") or nil,
    })
    C.cut_off(request.handle)
  end
end

local function answer_failure(request, caught)
  if getmetatable(caught) == Failure then
    if caught.retry_after_s then
      C.add_header(request.handle, "retry-after", tostring(caught.retry_after_s))
    end
    C.answer_error(request.handle, caught.status, caught.code, caught.message, caught.field)
    return
  end
  local err = type(caught) == "table" and caught.err or caught
  local sqlstate = errors.is(err) and err.sqlstate
  if sqlstate == "57014" then
    log_request("warn", "a route's query took too long", request, { error = err.message })
    C.answer_error(request.handle, 504, "timeout", "the database took longer than this route may wait")
  elseif sqlstate == "22P02" or sqlstate == "22003" then -- a value of the request, most likely
    C.answer_error(request.handle, 400, "bad_value", err.message)
  elseif errors.is(err) and (err.code == "lost" or err.code == "limit") then
    log_request("warn", "a route found no database", request, { error = err.message })
    C.add_header(request.handle, "retry-after", "1")
    C.answer_error(request.handle, 503, "busy", "the database cannot be asked now")
  else
    answer_broken(request, err, type(caught) == "table" and caught.trace)
  end
end

-- Coroutines ----------------------------------------------------------------------------------------------------------

local function trap(err)
  if getmetatable(err) == Failure then
    return err
  end
  return { err = err, trace = debug.traceback("", 2) }
end

--- Whatever the coroutine of a request does next, this looks at it.
local function settle(request, is_alive, ok, ...)
  if is_alive and coroutine.status(request.thread) ~= "dead" then
    if request.token then
      if request.has_begun then
        C.flush(request.handle)
      end
      return
    end
    ok = false
    is_alive = false
  elseif is_alive and ok then
    running[request] = nil
    if request.has_begun then
      C.finish(request.handle)
      return
    end
    local sent, err = pcall(send, request, (...))
    if not sent then
      answer_broken(request, err)
    end
    return
  end
  running[request] = nil
  local broken = not is_alive
    and (ok == false and "a route does not yield by itself: http.sleep and look-ups do" or ok)
  if request.has_begun then
    cut_off(request, broken or (...))
  elseif broken then
    answer_broken(request, broken)
  else
    answer_failure(request, (...))
  end
end

local function resume(request, ...)
  local before = current
  current = request
  settle(request, coroutine.resume(request.thread, ...))
  current = before
end

local function arm(at_ms)
  if at_ms < (armed_ms or math.huge) then
    armed_ms = at_ms
    C.set_timer(math.max(0, at_ms - C.now()))
  end
end

local function returned(ok, ...)
  if ok then
    return ...
  end
  raise(...)
end

--- Calls start(token, ...) and lets others run until C wakes the token. Returns what it was woken with; an error of the
--- host (code, message, sqlstate) is raised here.
local function await(start, ...)
  local request = current
  if not request or coroutine.running() ~= request.thread then
    errors.raise("input", "wanted this in a route's own coroutine: only there a route can wait")
  end
  last_token = last_token + 1
  local token = last_token
  start(token, ...)
  waiting[token], request.token = request, token
  arm(request.deadline_ms)
  return returned(coroutine.yield())
end

local function wake(token, ...)
  local request = waiting[token]
  if request then -- else it was answered meanwhile
    waiting[token], request.token, request.wake_ms = nil, nil, nil
    resume(request, ...)
  end
end

--- Lets other requests go on for so long; 0: once around.
function M.sleep(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 3600) then
    errors.raise("input", "http.sleep: wanted 0..3600 seconds, got %s", tostring(seconds))
  end
  await(function()
    current.wake_ms = C.now() + seconds * 1000
    arm(current.wake_ms)
  end)
end

--- Some request has waited long enough.
local function tick()
  local now_ms = C.now()
  local due = {}
  armed_ms = nil
  for request in pairs(running) do
    if request.deadline_ms <= now_ms or (request.wake_ms and request.wake_ms <= now_ms) then
      due[#due + 1] = request
    else
      arm(math.min(request.deadline_ms, request.wake_ms or math.huge))
    end
  end
  for _, request in ipairs(due) do
    if request.deadline_ms > now_ms then
      wake(request.token, true)
    elseif not request.token then
      running[request] = nil
      pcall(answer_broken, request, "its coroutine was cut off") -- unless it was answered when that was
    elseif request.has_begun then
      running[request], waiting[request.token] = nil, nil
      cut_off(request, ("nothing was written for %d ms"):format(C.limit_ms()))
    else
      running[request], waiting[request.token] = nil, nil
      log_request("warn", "a route took too long", request, { limit_ms = C.limit_ms() })
      C.answer_error(request.handle, 504, "timeout", "the route took longer than it may")
    end
  end
end

-- Requests ------------------------------------------------------------------------------------------------------------

local Request = {}

--- The body as JSON; what is none is answered by 400.
function Request:json()
  local ok, value = pcall(json.decode, self.body)
  if not ok then
    M.error(400, "bad_json", "%s", errors.is(value) and value.message or tostring(value))
  end
  return value
end

--- All values of a parameter of the query, in order.
function Request:all(name)
  local list = {}
  local parameters = C.query(self.handle)
  for i = 1, #parameters, 2 do
    if parameters[i] == name then
      list[#list + 1] = parameters[i + 1]
    end
  end
  return list
end

local readers = {
  method = C.method, path = C.path, body = C.body, id = C.id, who = C.who, peer = C.peer, trace = C.trace,
}

function readers.query(handle)
  local query, parameters = {}, C.query(handle)
  for i = #parameters - 1, 1, -2 do
    query[parameters[i]] = parameters[i + 1] -- the first one stays
  end
  return query
end

function readers.headers(handle)
  return setmetatable({}, {
    __index = function(_, name)
      return C.header(handle, tostring(name):lower())
    end,
  })
end

local request_class = {}

function request_class.__index(self, key)
  local read = readers[key]
  if not read then
    return Request[key]
  end
  local value = read(self.handle)
  rawset(self, key, value)
  return value
end

--- Sends the head of a streamed answer, once.
local function begin(request, answer)
  if not request.has_begun then
    local kind = add_headers(request, answer)
    if answer.status == 204 or answer.status == 304 then
      errors.raise("input", "a route's answer: %d has no body to be streamed", answer.status)
    end
    C.stream(request.handle, answer.status, kind)
    request.has_begun = true
  end
end

--- The limit of time is for what happens between two pieces; how long a client takes for one is the server's matter.
local function stream(request, answer)
  local function write(text)
    if type(text) ~= "string" then
      errors.raise("input", "write: wanted a text, got a %s", type(text))
    elseif current ~= request then
      errors.raise("input", "write: wanted this in the coroutine of the route that it was given to")
    end
    begin(request, answer)
    if not C.write(request.handle, text) then
      request.deadline_ms = math.huge
      await(C.room, request.handle)
    end
    request.deadline_ms = C.now() + C.limit_ms()
  end
  if request.method ~= "HEAD" then
    answer.produce(write)
  end
  begin(request, answer)
end

local function answer_to(handler, request)
  local answer = answer_of(handler(request, database))
  if answer.produce then
    stream(request, answer)
  end
  return answer
end

local function body_of_thread(handler, request)
  return xpcall(answer_to, trap, handler, request)
end

--- C has found the route of a request; values are those of the pattern's parts.
local function take(handle, number, values)
  local route = routes[number]
  local parts = {}
  for i, name in ipairs(route.parts) do
    parts[name] = values[i]
  end
  local request = setmetatable({
    handle = handle, route = route, parts = parts,
    thread = coroutine.create(body_of_thread),
    deadline_ms = C.now() + C.limit_ms(),
  }, request_class)
  running[request] = true
  resume(request, route.handler, request)
end

-- Routes --------------------------------------------------------------------------------------------------------------

local function check_segment(pattern, segment, parts)
  local name, rest = segment:match("^{([a-z_][a-z0-9_]*)}([^{}]*)$")
  if name then
    for _, before in ipairs(parts) do
      if before == name then
        errors.raise("input", "%s: the part {%s} stands in it twice", pattern, name)
      end
    end
    parts[#parts + 1] = name
    return "{}" .. rest
  elseif segment == "" or segment:find("[{}?#%%%c ]") then
    errors.raise("input", "wanted a path like /orthos/{dims}, got %q", pattern)
  end
  return segment
end

--- Names of the variable parts, and the pattern without them.
local function read_pattern(pattern)
  if type(pattern) ~= "string" or pattern:sub(1, 1) ~= "/" then
    errors.raise("input", "wanted a path that begins with /, got %s", tostring(pattern))
  end
  local parts, shape = {}, {}
  if pattern == "/" then
    return parts, "/"
  end
  for segment in (pattern:sub(2) .. "/"):gmatch("([^/]*)/") do
    shape[#shape + 1] = segment
  end
  for i, segment in ipairs(shape) do
    shape[i] = check_segment(pattern, segment, parts)
  end
  if #parts > C.parts_max then
    errors.raise("input", "%s: wanted at most %d variable parts", pattern, C.parts_max)
  end
  return parts, "/" .. table.concat(shape, "/")
end

local function check_reserved(pattern)
  local first = pattern:match("^/([^/]*)")
  if not C.is_app() then
    return
  elseif first == "" or first:find("{", 1, true) then
    errors.raise("input", "%s: the first part of an app's path is a fixed name, since the host has paths of its own",
      pattern)
  elseif C.is_reserved(pattern) then
    errors.raise("input", "%s: the host's own paths begin with /%s; take another name", pattern, first)
  end
end

local ROLES = { read = 1, ingest = 2, admin = 3 }

local function declare(method, pattern, handler, options)
  local parts, shape = read_pattern(pattern)
  if type(handler) ~= "function" then
    errors.raise("input", "%s %s: wanted a function(req), got a %s", method, pattern, type(handler))
  elseif C.is_serving() then
    errors.raise("input", "%s %s: routes are declared before they are served", method, pattern)
  end
  check_reserved(pattern)
  local key = method .. " " .. shape
  if places[key] then
    errors.raise("input", "%s %s is served already, by %s", method, pattern, places[key])
  end
  local role = options and options.role or method == "GET" and "read" or "ingest"
  if not ROLES[role] then
    errors.raise("input", "%s %s: wanted the role read, ingest or admin, got %s", method, pattern, tostring(role))
  end
  local info = debug.getinfo(3, "Sl")
  places[key] = ("%s:%d"):format(info.short_src, info.currentline)
  routes[C.add_route(method, pattern, ROLES[role])] = {
    name = method .. " " .. pattern, handler = handler, parts = parts, place = places[key],
  }
end

--- Declares what answers GET and HEAD of a path; {parts} of it are variable.
function M.get(pattern, handler, options)
  declare("GET", pattern, handler, options)
end

function M.post(pattern, handler, options)
  declare("POST", pattern, handler, options)
end

function M.put(pattern, handler, options)
  declare("PUT", pattern, handler, options)
end

function M.delete(pattern, handler, options)
  declare("DELETE", pattern, handler, options)
end

-- A server of one's own -----------------------------------------------------------------------------------------------

local OPTIONS = {
  listen = "string", open = "boolean", ready = "function", timeout = "number", body = "number", connections = "number",
}

--- Serves the routes declared so far until SIGTERM, SIGINT or http.stop(). options.ready(address) is called once it can
--- be reached.
function M.serve(options)
  options = options or {}
  for name, value in pairs(options) do
    local wanted = OPTIONS[name]
    if not wanted then
      errors.raise("input", "http.serve: no option %s", tostring(name))
    elseif wanted ~= type(value) then
      errors.raise("input", "http.serve: %s: wanted a %s, got a %s", name, wanted, type(value))
    end
  end
  if C.is_app() then
    errors.raise("input", "an app's routes are served by accrete run")
  end
  local address = C.open(options.listen or "127.0.0.1:8080", options.open == true, (options.timeout or 10) * 1000,
    options.body or 8 * 1024 * 1024, options.connections or 1000)
  local ok, err = pcall(function()
    if options.ready then
      options.ready(address)
    end
    C.run()
  end)
  C.close()
  if not ok then
    error(err, 0)
  end
end

--- Ends http.serve when the requests in hand are answered.
function M.stop()
  C.stop()
end

C.bind {
  take = take,
  wake = wake,
  tick = tick,
  --- An app's routes are to be served: part is host/script/routes.lua.
  attach = function(part, kinds)
    database = part({ C = C, await = await, Failure = Failure, current = function() return current end }, kinds)
  end,
}

return M
