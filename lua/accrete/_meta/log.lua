---@meta accrete.log
-- luacheck: ignore 211 212 221 241

---@alias accrete.LogFields table<string, any> -- `at` names the part of the program

local M = {}

---@param words string
---@param fields? accrete.LogFields
function M.error(words, fields) end

---@param words string
---@param fields? accrete.LogFields
function M.warn(words, fields) end

---@param words string
---@param fields? accrete.LogFields
function M.info(words, fields) end

---@param words string
---@param fields? accrete.LogFields
function M.debug(words, fields) end

---@param level "error"|"warn"|"info"|"debug"
---@return boolean
function M.enabled(level) end

return M
