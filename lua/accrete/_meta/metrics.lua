---@meta accrete.metrics
-- luacheck: ignore 211 212 221 241

---@alias accrete.LabelValue string|number|boolean of at most 63 bytes

---@class accrete.Counter
local Counter = {}

---@param n? number from 0 on; 1
---@param ... accrete.LabelValue as many as the counter has labels
function Counter:add(n, ...) end

---@param ... accrete.LabelValue
---@return number
function Counter:value(...) end

--- The series of these label values, for loops: with(...):add(1).
---@param ... accrete.LabelValue
---@return accrete.Counter
function Counter:with(...) end

---@class accrete.Gauge
local Gauge = {}

---@param value number
---@param ... accrete.LabelValue
function Gauge:set(value, ...) end

---@param n? number may be negative; 1
---@param ... accrete.LabelValue
function Gauge:add(n, ...) end

---@param ... accrete.LabelValue
---@return number
function Gauge:value(...) end

---@param ... accrete.LabelValue
---@return accrete.Gauge
function Gauge:with(...) end

---@class accrete.Histogram
local Histogram = {}

---@param value number kept to 12 % between 1e-6 and 1e6: say seconds, not milliseconds
---@param ... accrete.LabelValue
function Histogram:observe(value, ...) end

--- Observes the seconds that fn() takes, unless it raises.
---@generic R
---@param fn fun(): R
---@param ... accrete.LabelValue
---@return R
function Histogram:time(fn, ...) end

--- The value that a share of q of all observations does not exceed, within 12 %; NaN without observations.
---@param q number 0 to 1
---@param ... accrete.LabelValue
---@return number
function Histogram:quantile(q, ...) end

--- How many values were observed.
---@param ... accrete.LabelValue
---@return integer
function Histogram:count(...) end

---@param ... accrete.LabelValue
---@return number
function Histogram:sum(...) end

---@param ... accrete.LabelValue
---@return accrete.Histogram
function Histogram:with(...) end

---@class accrete.Registry
local Registry = {}

---@param name string letters, digits and _, without _total at its end; not accrete_...
---@param help string one sentence
---@param labels? string[] names, at most three
---@return accrete.Counter
function Registry:counter(name, help, labels) end

---@param name string
---@param help string
---@param labels? string[]
---@return accrete.Gauge
function Registry:gauge(name, help, labels) end

---@param name string ends in _seconds or _bytes when it has a unit
---@param help string
---@param labels? string[]
---@return accrete.Histogram
function Registry:histogram(name, help, labels) end

---@return string OpenMetrics text
function Registry:render() end

local M = {}

--- In the host's block, else in one of this script's own. Defined again in the same way it is the same counter; in
--- another way it raises "input".
---@param name string
---@param help string
---@param labels? string[]
---@return accrete.Counter
function M.counter(name, help, labels) end

---@param name string
---@param help string
---@param labels? string[]
---@return accrete.Gauge
function M.gauge(name, help, labels) end

---@param name string
---@param help string
---@param labels? string[]
---@return accrete.Histogram
function M.histogram(name, help, labels) end

---@return string OpenMetrics text
function M.render() end

---@param series? integer 1000; a histogram takes the room of three
---@return accrete.Registry
function M.new(series) end

--- Seconds of a clock that only goes forward.
---@return number
function M.now() end

return M
