--- Each step but the last finds the next one.
local M = { on = "step", finds = { "step" }, monotone = true }

local LAST = tonumber(require("accrete.settings").last)

function M.process_data(step, found)
  if step.n < LAST then
    found.step(nil, step.chain, step.n + 1)
  end
end

M.examples = {
  hit = { data = { chain = 1, n = 1 }, found = { step = { { 1, 2 } } } },
  miss = { data = { chain = 1, n = 2 ^ 40 }, found = {} },
}

return M
