--- Drives a lifecycle's callbacks over a batch: one loop in Lua under one pcall, text generated per kind, so that
--- LuaJIT compiles the whole way. The host calls gather and process with the batch's memory mapped through the FFI.
local ffi = require("ffi")
local bit = require("bit")

local host = ... -- functions of host/script/lua_batch.c

local C = ffi.C
local band, istype, i64 = bit.band, ffi.istype, ffi.typeof("int64_t")
local new_coroutine, resume, yield = coroutine.create, coroutine.resume, coroutine.yield
local WHOLE = 2 ^ 53

local OUTCOME = { NONE = 0, READY = 1, EARLY = 2, LATE = 3, EMPTY = 4, FOUND = 5, FAILED = 6 }
local PHASE_LUA = 5

local batch = ffi.cast("struct acc_batch *", host.batch)
local slot = ffi.cast("struct acc_slot *", host.slot)
local heap = ffi.cast("struct acc_heap *", host.heap)
local base = heap.base
local outcomes = ffi.cast("uint8_t *", host.outcomes)
local handles = ffi.cast("struct acc_handle *", host.handles)
local index = ffi.cast("uint32_t *", host.index)
local friend_ids = ffi.cast("uint8_t *", host.friend_ids)

local M = {}

-- Memory ------------------------------------------------------------------------------------------

--- Offset of n fresh bytes, aligned to 8.
local function alloc(n)
  local used = tonumber(heap.used)
  local at = used + (-used % 8)
  if at + n > tonumber(heap["end"]) then
    error("texts of one batch exceed 3 GiB", 0)
  end
  heap.used = at + n
  return at
end

local function describe(value)
  if type(value) == "string" then
    return ("%q"):format(#value > 60 and value:sub(1, 60) .. "…" or value)
  end
  return type(value) == "cdata" and tostring(ffi.typeof(value)) or tostring(value)
end

--- Raises for a value that does not fit; level points at the app's line.
local function bad(kind, field, wanted, got)
  local list = type(got) == "table" and "a table" or describe(got)
  error(("%s.%s: wanted %s, got %s"):format(kind, field, wanted, list), 3)
end

-- Arrays ------------------------------------------------------------------------------------------

local function element_words(type_name)
  return type_name == "int8" or type_name == "float8" or type_name == "bool"
end

--- Writes a Lua list as an array into the heap; returns offset and bytes.
local function write_array(kind, field, type_name, list)
  if type(list) ~= "table" then
    bad(kind, field, type_name .. "[] as a list", list)
  end
  local n, size = #list, 8
  if element_words(type_name) then
    size = 8 + 8 * n
  else
    for i = 1, n do
      if type(list[i]) ~= "string" then
        bad(kind, field .. "[" .. i .. "]", type_name, list[i])
      end
      size = size + 4 + #list[i]
    end
  end
  local at = alloc(size)
  local to = base + at
  ffi.cast("uint32_t *", to)[0], ffi.cast("uint32_t *", to)[1] = n, 0
  to = to + 8
  for i = 1, n do
    local v = list[i]
    if type_name == "int8" then
      local p = ffi.cast("int64_t *", to)
      if type(v) == "number" and v >= -WHOLE and v <= WHOLE and v % 1 == 0 or istype(i64, v) then
        p[0] = v
      else
        bad(kind, field .. "[" .. i .. "]", "a whole number", v)
      end
      to = to + 8
    elseif type_name == "float8" then
      if type(v) ~= "number" then
        bad(kind, field .. "[" .. i .. "]", "a number", v)
      end
      ffi.cast("double *", to)[0] = v
      to = to + 8
    elseif type_name == "bool" then
      if type(v) ~= "boolean" then
        bad(kind, field .. "[" .. i .. "]", "a boolean", v)
      end
      ffi.cast("int64_t *", to)[0] = v and 1 or 0
      to = to + 8
    else
      if type_name == "text" and C.acc_text_ok(v, #v) == 0 then
        bad(kind, field .. "[" .. i .. "]", "UTF-8 text without NUL", v)
      elseif type_name == "uuid" and #v ~= 16 then
        bad(kind, field .. "[" .. i .. "]", "16 bytes", v)
      end
      ffi.cast("uint32_t *", to)[0] = #v
      ffi.copy(to + 4, v, #v)
      to = to + 4 + #v
    end
  end
  return at, size
end

--- An array in the heap as a Lua list.
local function read_array(type_name, span)
  local from = base + span.at
  local n = ffi.cast("const uint32_t *", from)[0]
  local list = {}
  from = from + 8
  for i = 1, n do
    if type_name == "int8" then
      local v = ffi.cast("const int64_t *", from)[0]
      local d = tonumber(v)
      list[i] = (d > WHOLE or d < -WHOLE) and v or d
      from = from + 8
    elseif type_name == "float8" then
      list[i] = ffi.cast("const double *", from)[0]
      from = from + 8
    elseif type_name == "bool" then
      list[i] = ffi.cast("const int64_t *", from)[0] ~= 0
      from = from + 8
    else
      local size = ffi.cast("const uint32_t *", from)[0]
      list[i] = ffi.string(from + 4, size)
      from = from + 4 + size
    end
  end
  return list
end

-- Markers of look-ups ------------------------------------------------------------------------------

local any_mt, has_mt = {}, {}

--- db.any{1, 2}: any of these values.
local function any(list)
  if type(list) ~= "table" then
    error("db.any: wanted a list, got " .. describe(list), 2)
  end
  return setmetatable({ list = list }, any_mt)
end

--- db.has(x): an array that holds x; db.has{x, y} or db.has(db.any{x, y}): that holds one of these.
local function has(value)
  if getmetatable(value) == any_mt then
    value = value.list
  end
  return setmetatable({ list = type(value) == "table" and value or { value } }, has_mt)
end

-- Code generation -----------------------------------------------------------------------------------

--- C type of a field's slot.
local function slot_type(field)
  if field.is_array or field.type == "text" or field.type == "bytes" or field.type == "json" or field.type == "uuid" then
    return "struct acc_span"
  end
  return field.type == "float8" and "double" or "int64_t"
end

local function row_cdef(name, fields, const)
  local out = { ("typedef struct { %suint8_t raw_id[16]; %suint64_t nulls; %suint32_t event, friends_at, friend_count, flags;"):format(const, const, const) }
  for _, field in ipairs(fields) do
    out[#out + 1] = ("%s%s f_%s;"):format(const, slot_type(field), field.name)
  end
  out[#out + 1] = ("} %s;"):format(name)
  return table.concat(out, " ")
end

--- Lines that store the Lua value `v` into field `f` of row `o`; errors name kind and field.
local function store_code(kind, field, number, v)
  local where = ("%q, %q"):format(kind, field.name)
  local code
  if field.is_array then
    code = ("local at, size = write_array(%s, %q, %s) o.f_%s.at, o.f_%s.size = at, size"):format(where, field.type, v, field.name, field.name)
  elseif field.type == "int8" then
    code = ([[if type(V) == "number" then
      if V > 9007199254740992 or V < -9007199254740992 or V %% 1 ~= 0 then bad(W, "a whole number within 2^53, or int64 cdata", V) end
      o.F = V
    elseif istype(i64, V) then o.F = V else bad(W, "a whole number", V) end]]):gsub("%%%%", "%%")
  elseif field.type == "float8" then
    code = [[if type(V) ~= "number" then bad(W, "a number", V) end ]] .. (field.is_unique and [[if V ~= V then bad(W, "a number (NaN cannot be unique)", V) end ]] or "") .. "o.F = V"
  elseif field.type == "bool" then
    code = [[if type(V) ~= "boolean" then bad(W, "a boolean", V) end o.F = V and 1 or 0]]
  else
    local check = ""
    if field.type == "text" then
      check = [[if C.acc_text_ok(V, #V) == 0 then bad(W, "UTF-8 text without NUL", V) end]]
    elseif field.type == "uuid" then
      check = [[if #V ~= 16 then bad(W, "16 bytes", V) end]]
    elseif field.type == "json" then
      check = [[V = json_text(W, V)]]
    end
    code = [[if type(V) ~= "string" then bad(W, "TYPE", V) end CHECK
      local at = alloc(#V) copy(base + at, V, #V) o.F.at, o.F.size = at, #V]]
    code = code:gsub("CHECK", function() return check end):gsub("TYPE", field.type == "text" and "a text" or "a string of bytes")
  end
  code = code:gsub("%f[%w_]V%f[^%w_]", v):gsub("%f[%w_]W%f[^%w_]", function() return where end):gsub("o%.F%f[^%w_]", "o.f_" .. field.name)
  if field.is_nullable then
    return ("if %s == nil then o.nulls = o.nulls + %dULL else %s end"):format(v, 2 ^ number, code)
  end
  return ("do %s end"):format(code)
end

local function json_text(kind, field, text)
  local canonical, reason = host.json(text)
  if not canonical then
    bad(kind, field, "JSON text (" .. tostring(reason) .. ")", text)
  end
  return canonical
end

local function compile(name, text, env)
  local names, values = {}, {}
  for k, v in pairs(env) do
    names[#names + 1] = k
    values[#names] = v
  end
  local chunk, reason = loadstring(("local %s = ...\n%s"):format(table.concat(names, ", "), text), "=" .. name)
  if not chunk then
    error(("generated code of %s: %s\n%s"):format(name, reason, text))
  end
  return chunk(unpack(values, 1, #names))
end

--- The reader of fields of a row: row.from, row._id.
local function getter(kind)
  local out = { "return function(r, k)" }
  for i, field in ipairs(kind.fields) do
    local read
    local f = "r.f_" .. field.name
    if field.is_array then
      read = ("return read_array(%q, %s)"):format(field.type, f)
    elseif field.type == "int8" then
      read = ("local d = tonumber(%s) if d > 9007199254740992 or d < -9007199254740992 then return %s end return d"):format(f, f)
    elseif field.type == "float8" then
      read = "return " .. f
    elseif field.type == "bool" then
      read = ("return %s ~= 0"):format(f)
    else
      read = ("return str(base + %s.at, %s.size)"):format(f, f)
    end
    if field.is_nullable then
      read = ("if band(r.nulls, %dULL) ~= 0 then return nil end %s"):format(2 ^ (i - 1), read)
    end
    out[#out + 1] = ("%s k == %q then %s"):format(i == 1 and "if" or "elseif", field.name, read)
  end
  out[#out + 1] = [[elseif k == "_id" then return str(r.raw_id, 16) end no_field(k) end]]
  return compile(kind.name .. " row", table.concat(out, "\n"), {
    base = base, str = ffi.string, band = band, read_array = read_array,
    no_field = function(k)
      local near = host.suggest(tostring(k), kind.field_names)
      error(("%s has no field %q%s"):format(kind.name, tostring(k), near and (", did you mean %q"):format(near) or ""), 3)
    end,
  })
end

-- Kinds --------------------------------------------------------------------------------------------

local kinds = {} -- by name

local function views_of(pointer)
  return setmetatable({}, {
    __index = function(t, i)
      local v = pointer[i]
      if i < 65536 then
        t[i] = v
      end
      return v
    end,
  })
end

--- Methods of what a look-up returns, over a kind's friend rows.
local function rows_class(kind, rows)
  local methods = {}
  local function step(self, i)
    i = i + 1
    if i < self.e then
      return i, rows[index[i]]
    end
  end
  local function ready(self)
    if self.loaded == 0 then
      yield()
    end
    return self
  end
  --- for i, row in rows:each() do
  function methods.each(self)
    ready(self)
    return step, self, self.b - 1
  end
  function methods.count(self)
    ready(self)
    return self.e - self.b
  end
  --- Row number i of 1 .. count().
  function methods.get(self, i)
    ready(self)
    if i < 1 or i > self.e - self.b or i % 1 ~= 0 then
      error(("row %s of 1..%d"):format(tostring(i), self.e - self.b), 2)
    end
    return rows[index[self.b + i - 1]]
  end
  --- All values of a field: int8 and float8 as a C array (0-based), others as a list; and how many.
  function methods.column(self, name)
    ready(self)
    local n = self.e - self.b
    local field = kind.by_name[name]
    if not field then
      error(("%s has no field %q"):format(kind.name, tostring(name)), 2)
    end
    if not field.is_array and not field.is_nullable and (field.type == "int8" or field.type == "float8") then
      local column = ffi.new(field.type == "int8" and "int64_t[?]" or "double[?]", n)
      local key = "f_" .. name
      for i = 0, n - 1 do
        column[i] = rows[index[self.b + i]][key]
      end
      return column, n
    end
    local list = {}
    for i = 1, n do
      list[i] = rows[index[self.b + i - 1]][name]
    end
    return list, n
  end
  function methods.kind()
    return kind.name
  end
  return methods, ready
end

local function declare_kind(info)
  local kind = info
  kind.by_name, kind.field_names = {}, {}
  for i, field in ipairs(kind.fields) do
    kind.by_name[field.name] = field
    kind.field_names[i] = field.name
  end
  local n = kind.name
  ffi.cdef(row_cdef("acc_row_" .. n, kind.fields, "const "))
  ffi.cdef(row_cdef("acc_out_" .. n, kind.fields, ""))
  ffi.cdef(("typedef struct { const uint32_t b, e, key_at, key_count, loaded, shape, event, spare; } acc_rows_%s;"):format(n))
  local get = getter(kind)
  local row_type = ffi.metatype("acc_row_" .. n, { __index = get, __tostring = function() return n end })
  kind.row_type = row_type
  local pointer = ffi.typeof("acc_row_" .. n .. " *")
  kind.data = views_of(ffi.cast(pointer, host.rows(kind.index, "data")))
  local friends = views_of(ffi.cast(pointer, host.rows(kind.index, "friends")))
  local methods, ready = rows_class(kind, friends)
  ffi.metatype("acc_rows_" .. n, {
    __index = methods,
    __len = function(self)
      ready(self)
      return self.e - self.b
    end,
  })
  kind.handles = views_of(ffi.cast("acc_rows_" .. n .. " *", handles))
  kind.finds = ffi.cast("acc_out_" .. n .. " *", host.rows(kind.index, "finds"))
  kind.find_rows = ffi.cast("struct acc_rows *", host.rows_struct(kind.index, "finds"))
  kinds[n] = kind
end

-- Mirrors -------------------------------------------------------------------------------------------

local function make_mirror(kind)
  local mirror = ffi.cast("struct acc_rows *", host.rows_struct(kind.index, "mirror"))
  local rows = views_of(ffi.cast("acc_row_" .. kind.name .. " *", host.rows(kind.index, "mirror")))
  local M_ = {}
  local version = -1
  local function step(_, i)
    i = i + 1
    if i < mirror.count then
      return i, rows[i]
    end
  end
  function M_.each() return step, nil, -1 end
  function M_.count() return mirror.count end
  function M_.get(_, i)
    if i < 1 or i > mirror.count then
      error(("row %s of 1..%d"):format(tostring(i), mirror.count), 2)
    end
    return rows[i - 1]
  end
  --- Counts up when row numbers have changed; until then rows are only added.
  function M_.version() return host.mirror_version(kind.index) end
  function M_.kind() return kind.name end
  local current
  --- One object a version, so that caches can hang on its identity.
  return function()
    local now = host.mirror_version(kind.index)
    if now ~= version then
      version = now
      current = setmetatable({}, { __index = M_ })
    end
    return current
  end
end

-- Look-ups ------------------------------------------------------------------------------------------

local function undeclared(lifecycle, kind, t)
  local names = {}
  for k in pairs(t) do
    names[#names + 1] = tostring(k)
    if not kind.by_name[k] then
      local near = host.suggest(tostring(k), kind.field_names)
      error(("%s has no field %q%s"):format(kind.name, tostring(k), near and (", did you mean %q"):format(near) or ""), 3)
    end
  end
  table.sort(names)
  error(("look-up of %s by {%s} is not declared in lifecycle %s: add friends = { %s = { { %s } } }"):format(
    kind.name, table.concat(names, ", "), lifecycle.name, kind.name,
    #names == 0 and "" or '"' .. table.concat(names, '", "') .. '"'), 3)
end

--- Adds one key with the values of the shape's fields; returns nothing.
local function key_writer(kind, shape, keys_info)
  local fields, code = {}, { "return function(handle, values)",
    "local n = keys.count if n >= keys.capacity then error('more than ' .. n .. ' keys in one batch', 3) end",
    "local o = rows[n] o.nulls = 0 o.event = handle" }
  for i, f in ipairs(shape.fields) do
    local field = kind.fields[f]
    local key_field = { name = field.name, type = field.type, is_array = false, is_nullable = false }
    fields[i] = key_field
    code[#code + 1] = ("local v%d = values[%d]"):format(i, i)
    code[#code + 1] = store_code(kind.name, key_field, i - 1, "v" .. i)
  end
  code[#code + 1] = "keys.count = n + 1 end"
  local ctype = ("acc_key_%s_%d"):format(kind.name, keys_info.number)
  ffi.cdef(row_cdef(ctype, fields, ""))
  return compile(kind.name .. " key", table.concat(code, "\n"), {
    keys = ffi.cast("struct acc_rows *", keys_info.rows_struct), rows = ffi.cast(ctype .. " *", keys_info.base),
    C = C, bad = bad, istype = istype, i64 = i64, alloc = alloc, base = base, copy = ffi.copy, type = type,
    write_array = write_array, json_text = json_text,
  })
end

local function new_handle(shape)
  local h = batch.handle_count
  if h >= batch.handle_limit then
    error(("more than %d look-ups in one batch"):format(h), 3)
  end
  local handle = handles[h]
  handle.loaded, handle.b, handle.e = 0, 0, 0
  handle.shape, handle.event = shape, slot.current
  batch.handle_count = h + 1
  return h, handle
end

--- Slow form: lists and has-markers, one key per combination.
local function look_up_lists(kind, shape, writer, keys, t)
  local lists = {}
  for i, f in ipairs(shape.fields) do
    local field, v = kind.fields[f], t[kind.fields[f].name]
    local mt = getmetatable(v)
    if shape.has[i] and mt ~= has_mt then
      error(("%s.%s is an array: wanted db.has(value)"):format(kind.name, field.name), 3)
    elseif not shape.has[i] and mt == has_mt then
      error(("%s.%s is no array: db.has does not fit"):format(kind.name, field.name), 3)
    end
    lists[i] = (mt == any_mt or mt == has_mt) and v.list or { v }
  end
  local h, handle = new_handle(0)
  handle.key_at = keys.count
  local values = {}
  local function product(i)
    if i > #lists then
      writer(h, values)
      return
    end
    for _, v in ipairs(lists[i]) do
      values[i] = v
      product(i + 1)
    end
  end
  product(1)
  handle.key_count = keys.count - handle.key_at
  if handle.key_count == 0 then
    handle.loaded = 1
  end
  return kind.handles[h]
end

--- The function behind db.KIND:where for one lifecycle: a test per declared shape, most fields first.
local function make_where(lifecycle, kind, shapes)
  table.sort(shapes, function(a, b) return #a.fields > #b.fields end)
  local env = { undeclared = function(t) undeclared(lifecycle, kind, t) end, pairs = pairs, type = type, kind = kind, handles = kind.handles,
    C = C, bad = bad, istype = istype, i64 = i64, alloc = alloc, base = base, copy = ffi.copy, new_handle = new_handle,
    look_up_lists = look_up_lists, write_array = write_array, json_text = json_text, checks = { n = 2000 } }
  local code = { "return function(_, t)" }
  code[#code + 1] = "local given = 0 for _ in pairs(t) do given = given + 1 end"
  for s, shape in ipairs(shapes) do
    if #shape.fields == 0 then
      env["mirror" .. s] = make_mirror(kind)
      code[#code + 1] = ("if given == 0 then return mirror%d() end"):format(s)
    else
      local tests, locals = {}, {}
      local simple = true
      for i, f in ipairs(shape.fields) do
        locals[#locals + 1] = ("local v%d = t.%s"):format(i, kind.fields[f].name)
        tests[#tests + 1] = ("v%d ~= nil"):format(i)
        simple = simple and not shape.has[i]
      end
      env["shape" .. s] = shape
      env["writer" .. s] = key_writer(kind, shape, shape.keys)
      env["keys" .. s] = ffi.cast("struct acc_rows *", shape.keys.rows_struct)
      env["rows" .. s] = ffi.cast(("acc_key_%s_%d *"):format(kind.name, shape.keys.number), shape.keys.base)
      code[#code + 1] = ("if given == %d then %s if %s then"):format(#shape.fields, table.concat(locals, " "), table.concat(tests, " and "))
      if simple then
        local tables = {}
        for i in ipairs(shape.fields) do
          tables[i] = ("type(v%d) == 'table'"):format(i)
        end
        code[#code + 1] = ("if %s then return look_up_lists(kind, shape%d, writer%d, keys%d, t) end"):format(table.concat(tables, " or "), s, s, s)
        code[#code + 1] = ("local n = keys%d.count if n >= keys%d.capacity then error('more than ' .. n .. ' keys in one batch', 2) end"):format(s, s)
        code[#code + 1] = ("local o = rows%d[n] o.nulls = 0"):format(s)
        for i, f in ipairs(shape.fields) do
          local field = kind.fields[f]
          code[#code + 1] = store_code(kind.name, { name = field.name, type = field.type, is_array = field.is_array }, i - 1, "v" .. i)
        end
        code[#code + 1] = ("local h, handle = new_handle(0) handle.key_at, handle.key_count = n, 1 o.event = h keys%d.count = n + 1 return handles[h]"):format(s)
      else
        code[#code + 1] = ("return look_up_lists(kind, shape%d, writer%d, keys%d, t)"):format(s, s, s)
      end
      code[#code + 1] = "end end"
    end
  end
  code[#code + 1] = "return undeclared(t) end"
  return compile(kind.name .. " where", table.concat(code, "\n"), env)
end

local function make_db(lifecycle)
  local db = { any = any, has = has }
  local by_kind = {}
  for _, friend in ipairs(lifecycle.friends) do
    by_kind[friend.kind] = by_kind[friend.kind] or {}
    table.insert(by_kind[friend.kind], friend)
  end
  for name, shapes in pairs(by_kind) do
    local kind = kinds[name]
    local where = make_where(lifecycle, kind, shapes)
    db[name] = { where = where }
    --- The fact with these unique fields: rows with one or none.
    db[name].get = where
  end
  --- Rows of a read-only SQL query, in the batch's snapshot.
  function db.query(_, sql, ...)
    return host.query(sql, ...)
  end
  return setmetatable(db, {
    __index = function(_, name)
      local names = {}
      for k in pairs(by_kind) do
        names[#names + 1] = k
      end
      if kinds[name] then
        error(("look-ups of %s are not declared in lifecycle %s: add friends = { %s = { { … } } }"):format(name, lifecycle.name, name), 2)
      end
      local near = host.suggest(tostring(name), names)
      error(("no kind %q%s"):format(tostring(name), near and (", did you mean %q"):format(near) or ""), 2)
    end,
  })
end

-- Finds ---------------------------------------------------------------------------------------------

--- Copies the ids of a list of rows, or of all rows of a look-up.
local function many_friends(kind_name, p)
  local n = batch.friend_id_count
  local count = 0
  local function one(row)
    if type(row) ~= "cdata" then
      error(("found.%s: a friend must be a row, a list of rows, or nil; got %s"):format(kind_name, describe(row)), 4)
    end
    if n + count >= batch.friend_id_limit then
      error(("more than %d friends in one batch"):format(n + count), 4)
    end
    ffi.copy(friend_ids + 16 * (n + count), row.raw_id, 16)
    count = count + 1
  end
  if type(p) == "table" and getmetatable(p) == nil then
    for i = 1, #p do
      one(p[i])
    end
  elseif type(p) == "table" or type(p) == "cdata" then
    for _, row in p:each() do
      one(row)
    end
  else
    one(p)
  end
  batch.friend_id_count = n + count
  return n, count
end

local function make_finder(lifecycle, kind)
  local names, params = {}, {}
  for i, field in ipairs(kind.fields) do
    names[i] = field.name
    params[i] = "v" .. i
  end
  local first = kind.fields[1]
  -- One row of a kind that the lifecycle sees is the common case; the rest goes the slow way.
  local row_types, tests = {}, {}
  row_types[lifecycle.on] = true
  for _, friend in ipairs(lifecycle.friends) do
    row_types[friend.kind] = true
  end
  local env = {}
  for name in pairs(row_types) do
    tests[#tests + 1] = ("istype(row_%s, p)"):format(name)
    env["row_" .. name] = kinds[name].row_type
  end
  local code = {
    "local function put(p, " .. table.concat(params, ", ") .. ")",
    "if batch.find_count >= batch.find_limit then full() end",
    "local n = find_rows.count",
    "if n >= find_rows.capacity then error('more than ' .. n .. ' finds in one batch', 3) end",
    "local o = rows[n] o.nulls = 0 o.event = slot.current",
  }
  for i, field in ipairs(kind.fields) do
    code[#code + 1] = store_code(kind.name, field, i - 1, "v" .. i)
  end
  code[#code + 1] = [[
  if p == nil then
    o.friend_count = 0
  else
    local at, count = batch.friend_id_count, 1
    if IS_ROW then
      if at >= batch.friend_id_limit then error("more than " .. at .. " friends in one batch", 3) end
      copy(friend_ids + 16 * at, p.raw_id, 16)
      batch.friend_id_count = at + 1
    else
      at, count = many_friends(kind_name, p)
    end
    o.friends_at, o.friend_count = at, count
  end
  find_rows.count = n + 1
  batch.find_count = batch.find_count + 1
  end]]
  -- A table of named fields is taken too, unless the only field is an array itself.
  local named = {}
  for i, name in ipairs(names) do
    named[i] = "t." .. name
  end
  if not (#kind.fields == 1 and first.is_array) then
    code[#code + 1] = ("return function(p, %s) if type(v1) == 'table' %s then local t = v1 check(t) return put(p, %s) end return put(p, %s) end")
      :format(table.concat(params, ", "), first.is_array and "and next(v1) ~= nil and v1[1] == nil and v2 == nil" or "", table.concat(named, ", "), table.concat(params, ", "))
  else
    code[#code + 1] = "return put"
  end
  local text = table.concat(code, "\n"):gsub("IS_ROW", function() return table.concat(tests, " or ") end)
  local more = {
    batch = batch, slot = slot, rows = kind.finds, find_rows = kind.find_rows, full = function() host.full() end,
    C = C, bad = bad, istype = istype, i64 = i64, alloc = alloc, base = base, copy = ffi.copy, type = type, tonumber = tonumber,
    friend_ids = friend_ids, many_friends = many_friends, kind_name = kind.name, write_array = write_array,
    json_text = json_text, error = error, next = next,
    check = function(t)
      for k in pairs(t) do
        if not kind.by_name[k] then
          local near = host.suggest(tostring(k), kind.field_names)
          error(("found.%s has no field %q%s"):format(kind.name, tostring(k), near and (", did you mean %q"):format(near) or ""), 4)
        end
      end
      for _, field in ipairs(kind.fields) do
        if t[field.name] == nil and not field.is_nullable then
          error(("found.%s: field %q is missing"):format(kind.name, field.name), 4)
        end
      end
    end,
  }
  for k, v in pairs(more) do
    env[k] = v
  end
  return compile("found." .. kind.name, text, env)
end

local function make_found(lifecycle)
  local found = {}
  for _, name in ipairs(lifecycle.finds) do
    found[name] = make_finder(lifecycle, kinds[name])
  end
  return setmetatable(found, {
    __index = function(_, name)
      if kinds[name] then
        error(("lifecycle %s finds %s without saying so: add it to finds"):format(lifecycle.name, name), 2)
      end
      local near = host.suggest(tostring(name), lifecycle.finds)
      error(("no kind %q%s"):format(tostring(name), near and (", did you mean %q"):format(near) or ""), 2)
    end,
  })
end

-- The loops -----------------------------------------------------------------------------------------

local function trace(err)
  if type(err) == "table" and err.message then
    err = (err.where and err.where ~= "" and err.where .. ": " or "") .. tostring(err.message)
  end
  return { text = tostring(err), trace = debug.traceback(tostring(err), 2) }
end

local function park(event, err)
  if type(err) ~= "table" or not err.text then
    err = { text = tostring(err), trace = tostring(err) }
  end
  host.park(event, err.text, err.trace)
end

--- How many values load_friends hands on: process_data's parameters less data and found.
local function arity(lifecycle)
  local info = debug.getinfo(lifecycle.module.process_data, "u")
  if info.isvararg then
    error(("%s: process_data must name its parameters"):format(lifecycle.path), 0)
  end
  return math.max(info.nparams - 2, 0)
end

--- gather(n): load, abort_early and load_friends of events 0 .. n-1.
local function make_gather(lifecycle, data, got)
  local m = lifecycle.module
  local n_got = #got
  local slots, gets = {}, {}
  for i = 1, n_got do
    slots[i] = ("got%d[i]"):format(i)
    gets[i] = ("got%d"):format(i)
  end
  local code = { "local next_event, count = 0, 0", "local function run() while true do",
    "while next_event < count do local i = next_event next_event = i + 1 state.current = i slot.current = i slot.beat = slot.beat + 1",
    "local ev = rows[i]" }
  if m.load then
    code[#code + 1] = "ev = load(db, ev) if ev == nil then error('load returned nil', 0) end"
    code[#code + 1] = "slot.current = i"
  end
  code[#code + 1] = "data[i] = ev"
  code[#code + 1] = "local early, reason = false"
  if m.abort_early then
    code[#code + 1] = "early, reason = abort_early(ev)"
  end
  code[#code + 1] = "if early then outcomes[i] = EARLY if reason ~= nil then note(EARLY, reason) end else"
  if m.load_friends and n_got > 0 then
    code[#code + 1] = ("%s = load_friends(db, ev)"):format(table.concat(slots, ", "))
  elseif m.load_friends then
    code[#code + 1] = "load_friends(db, ev)"
  end
  code[#code + 1] = "outcomes[i] = READY end end yield(true) end end"
  code[#code + 1] = "return run, function(n) next_event, count = 0, n end, function() return next_event < count end"
  local env = { state = {}, slot = slot, rows = kinds[lifecycle.on].data, data = data, db = lifecycle.db, outcomes = outcomes,
    EARLY = OUTCOME.EARLY, READY = OUTCOME.READY, note = host.reason, load = m.load or false, abort_early = m.abort_early or false,
    load_friends = m.load_friends or false, yield = yield, error = error }
  for i = 1, n_got do
    env["got" .. i] = got[i]
  end
  local run, start, has_more = compile(lifecycle.name .. " gather", table.concat(code, "\n"), env)
  local pool, state = {}, env.state

  local function one(co, stuck)
    local ok, done = resume(co)
    if not ok then
      park(state.current, { text = tostring(type(done) == "table" and done.message or done), trace = debug.traceback(co, tostring(done)) })
    elseif done then
      pool[#pool + 1] = co
    else
      state.owner[co] = state.current
      stuck[#stuck + 1] = co
    end
  end

  return function(n)
    start(n)
    state.owner = {}
    slot.phase = PHASE_LUA
    local stuck = {}
    repeat
      while has_more() do
        one(table.remove(pool) or new_coroutine(run), stuck)
      end
      host.fetch()
      slot.phase = PHASE_LUA
      local waiting = stuck
      stuck = {}
      for _, co in ipairs(waiting) do
        -- The coroutine goes on with its own event, then takes over the loop.
        slot.current = state.owner[co]
        state.current = state.owner[co]
        one(co, stuck)
      end
    until #stuck == 0 and not has_more()
    slot.current = -1
  end
end

--- process(first, n): abort_late and process_data of the READY events from first on; returns the next to run.
local function make_process(lifecycle, data, got)
  local m = lifecycle.module
  local args = {}
  for i = 1, #got do
    args[i] = ("got%d[i]"):format(i)
  end
  local friends = #args > 0 and table.concat(args, ", ") .. ", " or ""
  local late_args = #args > 0 and ", " .. table.concat(args, ", ") or ""
  local code = { "return function(i, n) while i < n and batch.find_count < batch.find_limit do",
    "if outcomes[i] == READY then slot.current = i slot.beat = slot.beat + 1 state.flushed = false",
    "local ev = data[i]", "local late, reason = false" }
  if m.abort_late then
    code[#code + 1] = ("late, reason = abort_late(ev%s)"):format(late_args)
  end
  code[#code + 1] = "if late then outcomes[i] = LATE if reason ~= nil then note(LATE, reason) end else"
  code[#code + 1] = "local before = batch.find_count"
  code[#code + 1] = ("process_data(ev, %sfound)"):format(friends)
  code[#code + 1] = "outcomes[i] = (batch.find_count > before or state.flushed) and FOUND or EMPTY end end i = i + 1 end return i end"
  local state = lifecycle.state
  local env = { batch = batch, outcomes = outcomes, slot = slot, data = data, note = host.reason, READY = OUTCOME.READY, LATE = OUTCOME.LATE,
    FOUND = OUTCOME.FOUND, EMPTY = OUTCOME.EMPTY, abort_late = m.abort_late or false, process_data = m.process_data,
    found = lifecycle.found, state = state }
  for i = 1, #got do
    env["got" .. i] = got[i]
  end
  local loop = compile(lifecycle.name .. " process", table.concat(code, "\n"), env)
  return function(first, n)
    slot.phase = PHASE_LUA
    local i = first
    while i < n do
      local ok, result = xpcall(function() return loop(i, n) end, trace)
      if ok then
        i = result
        break
      end
      local event = slot.current
      if host.is_fatal() then -- a write in the middle of an event failed: the whole turn runs again
        error(result.text, 0)
      end
      park(event, result)
      i = event + 1
    end
    slot.current = -1
    return i
  end
end

local active

--- Called from C when an event's finds fill the batch: writes them and goes on.
function M.flushed()
  active.state.flushed = true
end

--- Takes the kinds and lifecycles of the app (lists of tables made by the host).
function M.setup(kind_list, lifecycle_list)
  for _, kind in ipairs(kind_list) do
    declare_kind(kind)
  end
  for _, lifecycle in ipairs(lifecycle_list) do
    local data, got = {}, {}
    for i = 1, arity(lifecycle) do
      got[i] = {}
    end
    lifecycle.state = { flushed = false }
    lifecycle.db = make_db(lifecycle)
    lifecycle.found = make_found(lifecycle)
    local gather, process = make_gather(lifecycle, data, got), make_process(lifecycle, data, got)
    lifecycle.gather = function(n) active = lifecycle return gather(n) end
    lifecycle.process = function(first, n) active = lifecycle return process(first, n) end
    if type(lifecycle.module.priority) == "function" then
      local function_of = lifecycle.module.priority
      local row_pointer = ffi.typeof("acc_row_" .. lifecycle.on .. " *")
      lifecycle.priority_of = function(row)
        local value = function_of(ffi.cast(row_pointer, row)[0])
        value = tonumber(value) or 0
        return math.max(-32768, math.min(32767, math.floor(value)))
      end
    end
  end
end

return M
