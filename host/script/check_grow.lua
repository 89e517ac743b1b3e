--- Lets the facts of the examples grow by the real rules, in memory and bounded: shows contradictions, and cycles that
--- never end.
local check = ...

local problem = check.problem

local FACTS_MAX, SECONDS_MAX, DEPTH_MIN, PROBES_MAX = 1500, 5, 100, 10

--- The lifecycles that lead from one fact of a kind to the next of the same kind, at the end of a chain.
local function cycle_of(fact)
  local steps, at = {}, fact
  while at.from do
    table.insert(steps, 1, at)
    at = at.from
    if at.kind == fact.kind then
      break
    end
  end
  return steps, at
end

local function tell_cycle(fact, started, grown, whose)
  local steps, first = cycle_of(fact)
  local words = { first.kind.name }
  for _, step in ipairs(steps) do
    words[#words + 1] = ("─▶ %s ─▶ %s"):format(step.lifecycle.name, step.kind.name)
  end
  local last = steps[#steps]
  problem("warning", "cycle", last.lifecycle.path, last.line or 1,
    ("a cycle that may never end: %s; %d facts %s became %d, and the last one was %s"):format(
      table.concat(words, " "), started, whose, started + grown, check.show(fact.kind, fact.values)),
    "bound it: an abort_early that stops at a limit of the app's settings, or finds that repeat sooner or later")
end

local function tell_contradiction(lifecycle, fact, known)
  problem("error", "contradiction", lifecycle.path, fact.line,
    ("finds %s, but there is %s with the same unique fields"):format(check.show(fact.kind, fact.values),
      check.show(known.kind, known.values)),
    "fields outside `unique` must follow from the unique ones: add the field to unique, or make another kind")
end

--- Runs all lifecycles over these facts (words: whose they are) until nothing is new, or too much is.
function check.grow(lifecycles, facts, whose)
  local store, waiting, by_kind, probes = check.make_store(), {}, {}, {}
  local ends = os.clock() + SECONDS_MAX
  for _, lifecycle in ipairs(lifecycles) do
    by_kind[lifecycle.on] = by_kind[lifecycle.on] or {}
    table.insert(by_kind[lifecycle.on], lifecycle)
    probes[lifecycle] = 0
  end
  local function add(fact)
    fact.depth = fact.depth or 0
    local is_new, known = store.add(fact)
    if is_new then
      waiting[#waiting + 1] = fact
    end
    return is_new, known
  end
  for _, fact in ipairs(facts) do
    add(fact)
  end
  local started, deepest = store.count, nil
  local function take(lifecycle, fact)
    local run = check.run(lifecycle, fact, store.find)
    if run.outcome == "failed" or run.outcome == "unknown" then
      return
    end
    local counts = check.sampled[lifecycle.name]
    counts.steps = counts.steps + 1
    if run.friends and probes[lifecycle] < PROBES_MAX and fact.depth > 0 then
      probes[lifecycle] = probes[lifecycle] + 1
      check.probe(lifecycle, fact, run.friends, run)
    end
    for _, find in ipairs(run.list) do
      find.lifecycle, find.from, find.depth = lifecycle, fact, fact.depth + 1
      local is_new, known = add(find)
      if known then
        tell_contradiction(lifecycle, find, known)
      elseif is_new and (not deepest or find.depth > deepest.depth) then
        deepest = find
      end
    end
    check.forget_rows()
  end
  while #waiting > 0 and store.count < FACTS_MAX and os.clock() < ends do
    local fact = table.remove(waiting) -- the newest first, so that a cycle is followed to its depth
    for _, lifecycle in ipairs(by_kind[fact.kind.name] or {}) do
      take(lifecycle, fact)
    end
  end
  if #waiting > 0 and deepest and deepest.depth >= DEPTH_MIN then
    tell_cycle(deepest, started, store.count - started, whose)
  end
end
