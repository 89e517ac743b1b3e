--- accrete lua dump.lua [--out FILE]
--- Writes all orthos as the canonical dump: one a line, sorted by bytes, so that two results are the same exactly
--- when their dumps are. To stdout, and the SHA-256 to stderr; with --out to FILE, and the SHA-256 to stdout.
local db = require("accrete.db")
local ortho = require("ortho")
local text = require("accrete.text")

local function fail(message)
  io.stderr:write("dump.lua: ", message, "\n")
  os.exit(1)
end

local out
if arg[1] == "--out" and arg[2] and not arg[3] then
  out = arg[2]
elseif arg[1] then
  io.stderr:write("usage: accrete lua dump.lua [--out FILE]\n")
  os.exit(2)
end

local lines = {}
for row in db.connect():rows("SELECT dims, axes, words FROM fact_ortho") do
  lines[#lines + 1] = ortho.line(row)
end
local dump = ortho.dump(lines)

local file = io.stdout
if out then
  local opened, reason = io.open(out, "wb")
  file = opened or fail(reason)
end
local written, problem = file:write(dump)
if not written or not file:flush() then
  fail(("cannot write %s: %s"):format(out or "stdout", problem or "the last part is lost"))
end
(out and io.stdout or io.stderr):write(text.sha256(dump), "\n")
