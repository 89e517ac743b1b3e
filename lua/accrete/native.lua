--- The app's compiled hot paths: native.load("fold") is the FFI library made of native/*.c, with the declarations
--- that native/fold.h has between its ffi marks.
local ffi = require("ffi")
local C = require("accrete.native.c")
local errors = require("accrete.error")

local M = {}

local function declarations(text)
  return text:match("/%* ffi:begin %*/(.-)/%* ffi:end %*/")
end

--- Declares what accrete/hot.h has between its marks, once for a Lua state.
function M.declare_hot()
  if not pcall(ffi.sizeof, "struct acc_row") then
    ffi.cdef(declarations(C.hot_header()))
  end
end

local function declare(path)
  local file, reason = io.open(path, "rb")
  if not file then
    errors.raise("input", "native: cannot read the header: %s", reason)
  end
  local text = declarations(file:read("*a"))
  file:close()
  if not text then
    errors.raise("input", "native: %s: wanted declarations between /* ffi:begin */ and /* ffi:end */", path)
  end
  M.declare_hot()
  local ok, problem = pcall(ffi.cdef, text)
  if not ok then
    errors.raise("input", "native: %s: %s", path, tostring(problem))
  end
end

--- The app's library, with the declarations of native/NAME.h: all of native/*.c is one app-HASH.so, which
--- `accrete build` made. Raises an accrete.Error when there is none.
function M.load(name)
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
    error("native.load: wanted the name of a file in native/, got " .. tostring(name), 2)
  end
  local loaded = C.loaded()
  if loaded[name] then
    return loaded[name]
  end
  local app, directory = C.directories()
  if not app or not directory then
    errors.raise("input", "native: no app is loaded, so there is no native/%s.h", name)
  end
  local file = C.newest(directory, "app")
  if not file then
    errors.raise("input", "native: no app-*.so in %s: run `accrete build`", directory)
  end
  local ok, library = pcall(ffi.load, directory .. "/" .. file)
  if not ok then
    errors.raise("system", "native: %s", tostring(library))
  end
  declare(app .. "/native/" .. name .. ".h")
  loaded[name] = library
  return library
end

return M
