local log = require("accrete.log")
local fixture = dofile("tests/lua/host/fixture.lua")

describe("log", function()
  --- What fn writes to stderr, of a process of its own.
  local function stderr_of(code)
    local script = os.tmpname()
    local file = assert(io.open(script, "w"))
    file:write(code)
    file:close()
    local program = assert(io.open("/proc/self/cmdline")):read("*a"):match("^%Z+")
    local inner = program:find("accrete$") and program .. " lua " or program .. " "
    local pipe = assert(io.popen(inner .. script .. " 2>&1"))
    local out = pipe:read("*a")
    pipe:close()
    os.remove(script)
    return out
  end

  it("writes words and fields, sorted, on one line", function()
    local out = stderr_of('require("accrete.log").warn("a b", { z = 1, k = "two\\nwords", at = "mail", ok = true })')
    assert.truthy(out:find(' level=warn pid=%d+ at=mail text="a b" k="two\\nwords" ok=true z=1\n$'), out)
  end)

  it("leaves out lines below the level", function()
    assert.is_false(log.enabled("debug"))
    assert.equal("", stderr_of('require("accrete.log").debug("hidden")'))
  end)

  it("refuses field names that would break the line, and words that are none", function()
    assert.truthy(fixture.error_of(log.info, "x", { ["a b"] = 1 }):find("field names"))
    assert.truthy(fixture.error_of(log.info, {}):find("wanted words"))
  end)
end)
