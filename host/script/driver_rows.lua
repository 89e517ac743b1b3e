--- Kinds: views of rows, what look-ups return, mirrors of whole kinds.
local driver = ...

local ffi = require("ffi")

local host, index, handles = driver.host, driver.index, driver.handles
local yield = coroutine.yield

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

--- What is no method of what a look-up returns: a misspelt name, a number.
local function no_method(methods)
  return function(_, name)
    if type(name) == "number" then
      driver.raise("what a look-up returns is no list: row number %s is rows:get(%s)", tostring(name), tostring(name))
    end
    local names = {}
    for known in pairs(methods) do
      names[#names + 1] = known
    end
    driver.raise("no method %q of what a look-up returns%s", tostring(name), driver.did_you_mean(name, names))
  end
end

local function no_list()
  driver.raise("what a look-up returns is no list: write for _, row in rows:each() do")
end

--- The values of a field of n rows, at(of, 0) .. at(of, n - 1).
local function column_of(kind, name, n, at, of)
  local field = kind.by_name[name]
  if not field then
    driver.raise("%s has no field %q%s", kind.name, tostring(name), driver.did_you_mean(name, kind.field_names))
  end
  if not field.is_array and not field.is_nullable and (field.type == "int8" or field.type == "float8") then
    local column = ffi.new(field.type == "int8" and "int64_t[?]" or "double[?]", n)
    local key = "f_" .. name
    for i = 0, n - 1 do
      column[i] = at(of, i)[key]
    end
    return column, n
  end
  local list = {}
  for i = 1, n do
    list[i] = at(of, i - 1)[name]
  end
  return list, n
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
      driver.raise("row %s of 1..%d", tostring(i), self.e - self.b)
    end
    return rows[index[self.b + i - 1]]
  end
  --- All values of a field: int8 and float8 as a C array (0-based), others as a list; and how many.
  local function row_at(self, i)
    return rows[index[self.b + i]]
  end
  function methods.column(self, name)
    ready(self)
    return column_of(kind, name, self.e - self.b, row_at, self)
  end
  function methods.kind()
    return kind.name
  end
  return setmetatable(methods, { __index = no_method(methods) }), ready
end

local function declare_kind(info)
  local kind = info
  kind.by_name, kind.field_names = {}, {}
  for i, field in ipairs(kind.fields) do
    kind.by_name[field.name] = field
    kind.field_names[i] = field.name
  end
  local n = kind.name
  ffi.cdef(driver.row_cdef("acc_row_" .. n, kind.fields, "const "))
  ffi.cdef(driver.row_cdef("acc_out_" .. n, kind.fields, ""))
  ffi.cdef(("typedef struct { const uint32_t b, e, key_at, key_count, loaded, shape, event, spare; } acc_rows_%s;"):format(n))
  local get = driver.getter(kind)
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
    __ipairs = no_list,
    __pairs = no_list,
  })
  kind.handles = views_of(ffi.cast("acc_rows_" .. n .. " *", handles))
  kind.finds = ffi.cast("acc_out_" .. n .. " *", host.rows(kind.index, "finds"))
  kind.find_rows = ffi.cast("struct acc_rows *", host.rows_struct(kind.index, "finds"))
  kinds[n] = kind
end

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
    if i < 1 or i > mirror.count or i % 1 ~= 0 then
      driver.raise("row %s of 1..%d", tostring(i), mirror.count)
    end
    return rows[i - 1]
  end
  local function row_at(_, i)
    return rows[i]
  end
  function M_.column(_, name) return column_of(kind, name, mirror.count, row_at) end
  --- Counts up when row numbers have changed; until then rows are only added.
  function M_.version() return host.mirror_version(kind.index) end
  function M_.kind() return kind.name end
  setmetatable(M_, { __index = no_method(M_) })
  -- cdata, as what other look-ups return: a table would not know #, and would be an empty list to ipairs
  local mirror_type = ffi.metatype("struct { uint32_t version; }", {
    __index = M_,
    __len = M_.count,
    __ipairs = no_list,
    __pairs = no_list,
  })
  local current
  --- One object a version, so that caches can hang on its identity.
  return function()
    local now = host.mirror_version(kind.index)
    if now ~= version then
      version = now
      current = mirror_type(version)
    end
    return current
  end
end

driver.kinds, driver.declare_kind, driver.make_mirror = kinds, declare_kind, make_mirror
