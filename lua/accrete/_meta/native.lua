---@meta accrete.native
-- luacheck: ignore 211 212 221 241

local M = {}

--- The FFI library made of native/NAME.c, declared by native/NAME.h between its ffi marks.
---@param name string
---@return ffi.namespace*
function M.load(name) end

--- Declares accrete/hot.h, once.
function M.declare_hot() end

return M
