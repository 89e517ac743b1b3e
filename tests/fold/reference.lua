--- Two independent computations of the orthos of a text, in plain Lua and slow: one by the three rules,
--- one by the definition of an array. Neither shares a line with the example, nor with the other beyond
--- the canonical form. A text is a list of sentences, a sentence a list of words.
local M = {}

-- With a `pairs` loop in `fill`, Debian 12's LuaJIT gave other results compiled than interpreted.
jit.off(true, true)

-- Canonical form ----------------------------------------------------------------------------------

--- The dump line of an array: sizes in words along each axis, cells row-major.
function M.line(sizes, cells)
  local n = #sizes
  local strides, steps, names, order = {}, {}, {}, {}
  local stride = 1
  for i = n, 1, -1 do
    strides[i] = stride
    stride = stride * sizes[i]
  end
  for i = 1, n do
    order[i], names[i], steps[i] = i, cells[1 + strides[i]], sizes[i] - 1
  end
  table.sort(order, function(a, b) return names[a] < names[b] end)
  table.sort(steps, function(a, b) return a > b end)
  local axes, words = {}, {}
  for i = 1, n do
    axes[i] = names[order[i]] .. ":" .. sizes[order[i]] - 1
  end
  local function walk(depth, at)
    if depth > n then
      words[#words + 1] = cells[at]
      return
    end
    for k = 0, sizes[order[depth]] - 1 do
      walk(depth + 1, at + k * strides[order[depth]])
    end
  end
  walk(1, 1)
  return table.concat(steps, ",") .. "\t" .. table.concat(axes, ",") .. "\t" .. table.concat(words, " ")
end

--- Sorted lines, each with a line end.
function M.dump(set)
  local lines = {}
  for line in pairs(set) do
    lines[#lines + 1] = line
  end
  table.sort(lines)
  return #lines == 0 and "" or table.concat(lines, "\n") .. "\n", #lines
end

-- By the rules ------------------------------------------------------------------------------------
-- An ortho here is a map from a location to a word. A location is the list of steps along each axis,
-- written "1,0,2"; axes are numbered, names stand in the words at distance 1.

local function each_location(steps, visit)
  local at = {}
  local function go(axis)
    if axis > #steps then
      return visit(at)
    end
    for k = 0, steps[axis] do
      at[axis] = k
      go(axis + 1)
    end
  end
  go(1)
end

local function permutations(n, visit)
  local list = {}
  for i = 1, n do
    list[i] = i
  end
  local function go(k)
    if k > n then
      return visit(list)
    end
    for i = k, n do
      list[k], list[i] = list[i], list[k]
      go(k + 1)
      list[k], list[i] = list[i], list[k]
    end
  end
  go(1)
end

local key = function(at) return table.concat(at, ",") end

local function to_line(ortho)
  local sizes, cells = {}, {}
  for i, steps in ipairs(ortho.steps) do
    sizes[i] = steps + 1
  end
  each_location(ortho.steps, function(at) cells[#cells + 1] = ortho.word[key(at)] end)
  return M.line(sizes, cells)
end

local function is_base(ortho)
  for _, steps in ipairs(ortho.steps) do
    if steps ~= 1 then
      return false
    end
  end
  return true
end

local function ex_nihilo(pairs_of, add)
  for a, after_a in pairs(pairs_of) do
    for b in pairs(after_a) do
      for c in pairs(after_a) do
        for d in pairs(b ~= c and pairs_of[b] or {}) do
          if pairs_of[c] and pairs_of[c][d] then
            add({ steps = { 1, 1 }, word = { ["0,0"] = a, ["1,0"] = b, ["0,1"] = c, ["1,1"] = d } })
          end
        end
      end
    end
  end
end

local function shells(ortho)
  local list = {}
  each_location(ortho.steps, function(at)
    local distance = 0
    for _, k in ipairs(at) do
      distance = distance + k
    end
    list[distance] = list[distance] or {}
    list[distance][ortho.word[key(at)]] = true
  end)
  return list
end

local function up(lo, ro, pairs_of, add)
  local d = #lo.steps
  if d ~= #ro.steps then
    return
  end
  local zero = key(({ { 0, 0 }, { 0, 0, 0 }, { 0, 0, 0, 0 }, { 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, 0 } })[d - 1])
  local function is_pair(a, b) return pairs_of[a] ~= nil and pairs_of[a][b] == true end
  if not is_pair(lo.word[zero], ro.word[zero]) then
    return
  end
  local of_lo, of_ro = shells(lo), shells(ro)
  for k = 0, d - 1 do
    for word in pairs(of_ro[k]) do
      if of_lo[k + 1][word] then
        return
      end
    end
  end
  permutations(d, function(m) -- axis i of ro is axis m[i] of lo
    local word, all = {}, true
    each_location(ro.steps, function(at)
      local there = {}
      for i = 1, d do
        there[m[i]] = at[i]
      end
      local a, b = lo.word[key(there)], ro.word[key(at)]
      all = all and is_pair(a, b)
      there[d + 1] = 0
      word[key(there)] = a
      there[d + 1] = 1
      word[key(there)] = b
    end)
    if all then
      local steps = {}
      for i = 1, d + 1 do
        steps[i] = 1
      end
      add({ steps = steps, word = word })
    end
  end)
end

local function over(lo, ro, phrases, add)
  local d = #lo.steps
  if d ~= #ro.steps then
    return
  end
  permutations(d, function(m)
    for i = 1, d do
      if ro.steps[i] ~= lo.steps[m[i]] then
        return
      end
    end
    for y = 1, d do
      local x, n = m[y], ro.steps[y]
      local fits, word, steps = true, {}, {}
      for i = 1, d do
        steps[i] = lo.steps[i]
      end
      steps[x] = n + 1
      for at, w in pairs(lo.word) do
        word[at] = w
      end
      each_location(ro.steps, function(at)
        local there = {}
        for i = 1, d do
          there[m[i]] = at[i]
        end
        there[x] = there[x] + 1
        local w = ro.word[key(at)]
        if at[y] < n then
          fits = fits and w == lo.word[key(there)]
        else
          word[key(there)] = w
        end
      end)
      if fits then
        each_location(steps, function(at)
          if at[x] == 0 then
            local line, there = {}, { unpack(at) }
            for k = 0, n + 1 do
              there[x] = k
              line[k + 1] = word[key(there)]
            end
            fits = fits and phrases[table.concat(line, " ")] == true
          end
        end)
      end
      if fits then
        add({ steps = steps, word = word })
      end
    end
  end)
end

--- The least set closed under the three rules. Returns dump lines as a set, or nil if more than most.
function M.by_rules(sentences, most)
  local pairs_of, phrases = {}, {}
  for _, words in ipairs(sentences) do
    for i = 1, #words - 1 do
      pairs_of[words[i]] = pairs_of[words[i]] or {}
      pairs_of[words[i]][words[i + 1]] = true
      for j = i + 2, #words do
        phrases[table.concat(words, " ", i, j)] = true
      end
    end
  end

  local set, list = {}, {}
  local function add(ortho)
    local line = to_line(ortho)
    if not set[line] then
      set[line] = true
      list[#list + 1] = ortho
    end
  end
  ex_nihilo(pairs_of, add)
  local done = 0
  while done < #list do
    if #list > most then
      return nil
    end
    done = done + 1
    local new = list[done]
    for i = 1, done do
      local old = list[i]
      if is_base(new) and is_base(old) then
        up(new, old, pairs_of, add)
        up(old, new, pairs_of, add)
      end
      over(new, old, phrases, add)
      over(old, new, phrases, add)
    end
  end
  return set
end

-- By the definition -------------------------------------------------------------------------------

local function in_unit_block(a, b) -- both in one unit block, at the same distance from its first corner
  local sum = 0
  for i = 1, #a do
    local apart = a[i] - b[i]
    if apart < -1 or apart > 1 then
      return false
    end
    sum = sum + apart
  end
  return sum == 0
end

--- All arrays of one shape, sizes in words.
local function arrays(sizes, followers, firsts, visit)
  local n, places, strides, count = #sizes, {}, {}, 1
  for i = n, 1, -1 do
    strides[i] = count
    count = count * sizes[i]
  end
  for p = 1, count do
    places[p] = {}
    for i = 1, n do
      places[p][i] = math.floor((p - 1) / strides[i]) % sizes[i]
    end
  end
  local rivals = {}
  for p = 1, count do
    rivals[p] = {}
    for q = 1, p - 1 do
      if in_unit_block(places[p], places[q]) then
        table.insert(rivals[p], q)
      end
    end
  end

  local cells = {}
  local function fill(p)
    if p > count then
      return visit(cells)
    end
    local choice, others = firsts, {} -- lists that are sets too
    for i = 1, n do
      if places[p][i] > 0 then
        local run = {}
        for k = places[p][i], 1, -1 do
          run[#run + 1] = cells[p - k * strides[i]]
        end
        local after = followers[table.concat(run, " ")]
        if after == nil then
          return
        end
        others[#others + 1] = after
        choice = after
      end
    end
    for k = 1, #choice do
      local word, good = choice[k], true
      for _, set in ipairs(others) do
        good = good and set[word]
      end
      for _, q in ipairs(rivals[p]) do
        good = good and cells[q] ~= word
      end
      if good then
        cells[p] = word
        fill(p + 1)
      end
    end
    cells[p] = nil
  end
  fill(1)
end

--- All arrays that satisfy the definition. Returns dump lines as a set, or nil if more than most.
function M.by_definition(sentences, most)
  local followers, firsts = {}, {}
  local function add(list, word)
    if not list[word] then
      list[word] = true
      list[#list + 1] = word
    end
  end
  for _, words in ipairs(sentences) do
    for i = 1, #words do
      add(firsts, words[i])
      for j = i, #words - 1 do
        local run = table.concat(words, " ", i, j)
        followers[run] = followers[run] or {}
        add(followers[run], words[j + 1])
      end
    end
  end

  local set, count, seen = {}, 0, {}
  local shapes = { { 2, 2 } }
  while #shapes > 0 do
    local sizes = table.remove(shapes)
    local any = false
    arrays(sizes, followers, firsts, function(cells)
      local line = M.line(sizes, cells)
      any = true
      if not set[line] then
        set[line], count = true, count + 1
      end
    end)
    if count > most then
      return nil
    end
    for i = 1, any and #sizes + 1 or 0 do
      local larger = { unpack(sizes) }
      larger[i] = (larger[i] or 1) + 1
      table.sort(larger, function(a, b) return a > b end)
      local name = table.concat(larger, ",")
      if not seen[name] then
        seen[name] = true
        table.insert(shapes, 1, larger)
      end
    end
  end
  return set, count
end

return M
