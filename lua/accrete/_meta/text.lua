---@meta accrete.text
-- luacheck: ignore 211 212 221 241

local M = {}

---@param s string
---@return boolean
---@return integer? place of the first byte that is not UTF-8
function M.is_utf8(s) end

--- Where each code point starts, and the code point.
---@param s string
---@return fun(): integer?, integer?
function M.codes(s) end

---@param s string
---@return integer code_points
function M.length(s) end

---@param code integer
---@return string
function M.char(code) end

--- ASCII and Latin-1 letters.
---@param s string
---@return string
function M.lower(s) end

---@param s string
---@return string
function M.trim(s) end

---@param s string
---@param separator string plain text
---@return string[]
function M.split(s, separator) end

---@param s string
---@return string[]
function M.words(s) end

---@param s string
---@return string[]
function M.sentences(s) end

---@param s string
---@return string hex 64 digits
function M.sha256(s) end

---@param bytes string
---@return string
function M.hex(bytes) end

---@param digits string
---@return string? bytes
function M.unhex(digits) end

--- Single edits between two strings of at most 1,000 bytes.
---@param a string
---@param b string
---@return integer
function M.distance(a, b) end

---@param word string
---@param candidates string[]
---@return string?
function M.closest(word, candidates) end

return M
