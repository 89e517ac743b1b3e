---@meta accrete.bench
-- luacheck: ignore 211 212 221 241

---@class accrete.BenchOptions
---@field runs? integer 30
---@field run_ms? number each run lasts about as long; 5
---@field warm_ms? number so long it is called before anything is measured; 50
---@field limit_ms? number no run is begun after it, counted from the first
---@field clock? "wall"|"cpu" cpu: what this process computes, whatever else runs on the machine; "wall"
---@field batch? boolean fn(n) makes n calls itself

---@class accrete.BenchResult
---@field ns number median per call, over the runs
---@field ci_ns number half the width of its 95 % interval
---@field low_ns number lower end of the interval
---@field high_ns number upper end
---@field confidence number share of samples whose interval holds the true median; below 0.95 with fewer than 6 runs
---@field min_ns number
---@field max_ns number
---@field per_second number calls
---@field runs integer
---@field calls integer of one run

local M = {}

---@param clock? "wall"|"cpu"
---@return number nanoseconds
function M.now(clock) end

---@param list number[]
---@return number
function M.median(list) end

---@param list number[]
---@param share number 0..1
---@return number value that this share does not exceed
function M.quantile(list, share) end

---@param list number[]
---@return number low
---@return number high
---@return number confidence
function M.interval(list) end

---@param fn function
---@param options? accrete.BenchOptions
---@return accrete.BenchResult
function M.measure(fn, options) end

---change 0.18: b takes 18 % longer; is_beyond: more than 5 %, and the two intervals do not touch.
---@param a { ns: number, ci_ns: number } the baseline
---@param b { ns: number, ci_ns: number }
---@return { change: number, is_beyond: boolean }
function M.compare(a, b) end

---@param ns number
---@return string "1.31 µs"
function M.format(ns) end

---@param rows { [1]: string, [2]: accrete.BenchResult, [3]: accrete.BenchResult? }[] name, result, baseline
---@return string
function M.table(rows) end

return M
