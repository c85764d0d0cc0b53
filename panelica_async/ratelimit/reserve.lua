-- A store in Redis. It repeats the arithmetic of rules.py and the decisions of store.grant; sqlite.py uses those
-- themselves, and tests/ratelimit/test_redis.py compares the two.
--
-- KEYS: state (hash), minute, hour and interactive (lists of instants, newest first; a g before an instant marks a
--       guess from the counts of the panel), members (hash: "member lane" -> until)
-- ARGV: the request as JSON, constants as JSON, a name for the store in case it is new
-- Returns texts: name of the store, members, opens_in, retry_in, the requests of the minute, of the hour, and of the
-- interactive lane in the minute, and the delays of the permits. Instants are seconds by the clock of the server, kept
-- from going back.

local state_key, minute_key, hour_key, interactive_key, members_key = unpack(KEYS)
local request, constants = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local limit = request.limit

-- Data that no member wrote could stop all members for good, or block the other clients of the server.
for i, kind in ipairs({ 'hash', 'list', 'list', 'list', 'hash' }) do
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= 'none' and found ~= kind or found == 'hash' and redis.call('HLEN', KEYS[i]) >= constants.most_members then
        redis.call('UNLINK', KEYS[i])
    end
end

local state = {}
local function number(name)
    return tonumber(state[name] or '0')
end

local fields = redis.call('HGETALL', state_key)
for i = 1, #fields, 2 do
    state[fields[i]] = fields[i + 1]
end
for name in pairs(state) do
    if name ~= 'store' and not (math.abs(number(name) or constants.far) < constants.far) then
        redis.call('DEL', unpack(KEYS))
        state = {}
        break
    end
end
if not state.store then
    state.store = ARGV[3]
    redis.call('HSET', state_key, 'store', state.store)
end

local time = redis.call('TIME')
local offset = number('offset')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6 + offset
if now < number('clock') then
    offset = offset + number('clock') - now
    now = number('clock')
end

-- Numbers too far in the future would stop all members for good.
local latest = now + constants.max_wait
local paused_until = math.min(number('paused_until'), latest)
local recovery_since = math.min(number('recovery_since'), latest)
local slowdown = math.max(0, math.min(number('slowdown'), constants.max_slowdown))
local full_at = math.min(
    number('full_at'), latest + limit.tolerance + (1 + constants.max_slowdown) * limit.interval
)

-- Windows ------------------------------------------------------------------------------------------------------

local function instant_of(entry)
    local instant = tonumber(string.match(entry or '0', '[%d.]+') or '0') or 0
    return instant <= now + 2 * constants.max_lead and instant or 0
end

local function at(log, index)
    return instant_of(redis.call('LINDEX', log, index) or nil)
end

local function ready_at(log, count, reserve, period)
    if count == 0 then
        return 0
    end
    local leaving = count - reserve - 1
    if redis.call('LLEN', log) <= leaving then
        return 0
    end
    return at(log, leaving) + period
end

local function note(log, instant)
    redis.call('LPUSH', log, string.format('%.6f', math.max(instant, at(log, 0))))
end

local function since(log, instant)
    local low, high = 0, redis.call('LLEN', log)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if at(log, middle) > instant then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

-- How much of each log to keep: what this member needs, and what a member with a larger limit has left there.
local function kept_of(log, count)
    return math.min(math.max(count, redis.call('LLEN', log), constants.record), constants.most_counted)
end
local minute_kept, hour_kept = kept_of(minute_key, limit.minute_count), kept_of(hour_key, limit.hour_count)

-- Puts entries, the oldest first, on top of a log; a script cannot pass thousands of arguments at once.
local function push(log, entries, most)
    local kept = most - #entries
    if kept <= 0 then
        redis.call('DEL', log)
    else
        redis.call('LTRIM', log, 0, kept - 1)
    end
    for i = math.max(1, #entries - most + 1), #entries, 1000 do
        redis.call('LPUSH', log, unpack(entries, i, math.min(i + 999, #entries)))
    end
end

local function used(log, count, period)
    return math.min(since(log, now - period), count > 0 and count or constants.record)
end

-- Notes what the panel counted and the store did not; returns how many requests that is.
local function add_usage(log, most, count, period, usage)
    local missing = math.min(usage - used(log, count, period), constants.record)
    local entry, entries = string.format('g%.6f', math.max(now, at(log, 0))), {}
    for i = 1, math.min(missing, count > 0 and count or constants.record) do
        entries[i] = entry
    end
    if missing > 0 then
        push(log, entries, most)
    end
    return math.max(0, missing)
end

-- Each reported request takes the place of a guessed one that may stand for it.
local function add_report(log, most, period)
    local reported = {}
    for _, group in ipairs(request.unrecorded) do
        if group[1] < period then
            for _ = 1, math.min(group[2], constants.record) do
                reported[#reported + 1] = now - group[1]
            end
        end
    end
    if #reported == 0 then
        return
    end
    table.sort(reported)
    -- Earlier requests stay as they are: a report cannot explain them, and comes after them.
    local recent = since(log, reported[1] - 1e-5)
    local kept, unexplained = {}, #reported
    for _, entry in ipairs(recent > 0 and redis.call('LRANGE', log, 0, recent - 1) or {}) do
        local instant, is_known = instant_of(entry), false
        if string.sub(entry, 1, 1) == 'g' then
            while unexplained > 0 and reported[unexplained] > instant do
                unexplained = unexplained - 1
            end
            is_known = unexplained > 0
            unexplained = unexplained - (is_known and 1 or 0)
        end
        if not is_known then
            kept[#kept + 1] = { instant, entry }
        end
    end
    local merged, next_kept = {}, #kept
    for _, instant in ipairs(reported) do
        while next_kept > 0 and kept[next_kept][1] <= instant do
            merged[#merged + 1] = kept[next_kept][2]
            next_kept = next_kept - 1
        end
        merged[#merged + 1] = string.format('%.6f', instant)
    end
    for i = next_kept, 1, -1 do
        merged[#merged + 1] = kept[i][2]
    end
    redis.call('LTRIM', log, recent, -1)
    push(log, merged, most)
end

-- The token bucket and its slow start after a refusal ----------------------------------------------------------------

local function slowdown_at(instant)
    return slowdown * math.max(0, math.min(1, 1 - (instant - recovery_since) / constants.recovery_time))
end

local function interval_at(instant)
    local normal = limit.interval
    return normal + slowdown_at(instant) * (normal > 0 and normal or constants.unpaced_interval)
end

local function take_tokens(instant, times)
    local interval = interval_at(instant)
    local full = math.min(math.max(full_at, instant) + times * interval, instant + limit.tolerance + interval)
    full_at = math.max(full_at, full)
end

-- What the member reports ------------------------------------------------------------------------------------------

add_report(minute_key, minute_kept, limit.minute_period)
add_report(hour_key, hour_kept, limit.hour_period)
for _, group in ipairs(request.unrecorded) do
    take_tokens(now - group[1], group[2])
end
-- A member that has not noticed yet that the store lost its memory has something to report first.
local is_known = request.store == '' or request.store == state.store
if is_known then
    take_tokens(now, add_usage(minute_key, minute_kept, limit.minute_count, limit.minute_period, request.minute_usage))
    add_usage(hour_key, hour_kept, limit.hour_count, limit.hour_period, request.hour_usage)
end

if request.pause > 0 or request.refused then
    paused_until = math.max(paused_until, now + math.min(request.pause, constants.max_wait))
end
if request.refused then
    if now < recovery_since then
        recovery_since = math.max(recovery_since, paused_until)
    else
        slowdown = math.min(constants.max_slowdown, 1 + 2 * slowdown_at(paused_until))
        recovery_since = paused_until
    end
    full_at = math.max(full_at, recovery_since + limit.tolerance)
end

-- Other members that wait ------------------------------------------------------------------------------------------------

local peers, rivals, others, seen = 0, 0, 0, {}
local entries = redis.call('HGETALL', members_key)
for i = 1, #entries, 2 do
    local member, lane = string.match(entries[i], '^(%S+) (%S+)$')
    local ends = tonumber(entries[i + 1])
    if not (member and ends and now < ends and ends < latest + constants.max_wait) then
        redis.call('HDEL', members_key, entries[i])
    elseif member ~= request.member then
        if lane == request.lane then
            peers = peers + 1
        else
            rivals = rivals + 1
        end
        if not seen[member] then
            seen[member] = true
            others = others + 1
        end
    end
end

local is_bulk = request.lane == 'bulk'
local batch = constants.batch * request.scale
if rivals > 0 and is_bulk then
    batch = request.scale
elseif limit.interval > 0 and rivals == 0 then
    local fair = math.floor(constants.lookahead * request.scale / limit.interval / (peers + 1))
    batch = math.max(1, math.min(batch, fair))
end
local most = is_known and math.min(batch, request.wanted) or 0

-- Permits --------------------------------------------------------------------------------------------------------

local opens_at = math.max(now, paused_until)

-- What bulk leaves to the interactive lane: interactive_reserve of rules.py.
local token_reserve, minute_reserve, hour_reserve = 0, 0, 0
if is_bulk then
    token_reserve, hour_reserve = limit.token_reserve, limit.hour_reserve
    if limit.minute_count > 0 then
        local in_window = since(interactive_key, opens_at - limit.minute_period)
        local lately = since(interactive_key, opens_at - constants.lately)
        local expected = math.max(in_window, lately * 60 / constants.lately)
        local left = expected + constants.irregularity * math.sqrt(expected) + limit.minute_reserve
        left = math.min(limit.minute_count * constants.largest_reserve, left)
        minute_reserve = math.max(0, math.floor(left) - in_window)
    end
end

local function next_permit()
    return math.max(
        opens_at,
        math.max(full_at, opens_at) - limit.tolerance + token_reserve * interval_at(opens_at),
        ready_at(minute_key, limit.minute_count, minute_reserve, limit.minute_period),
        ready_at(hour_key, limit.hour_count, hour_reserve, limit.hour_period)
    )
end

local first = next_permit()
local permit = first
local delays = {}
-- What bulk reserves ahead is lost to an interactive caller that comes before it. But where one permit of each member
-- reaches further, a member must be able to reserve behind the others, or it comes too late each time.
local lead = constants.max_lead
if is_bulk and rivals == 0 then
    local reach = (peers + 1) * batch * interval_at(opens_at)
    lead = math.min(lead, math.max(constants.lookahead * request.scale, reach))
end
while #delays < most and permit <= now + lead do
    delays[#delays + 1] = string.format('%.6f', permit - now)
    take_tokens(permit, 1)
    note(minute_key, permit)
    note(hour_key, permit)
    if not is_bulk then
        note(interactive_key, permit)
    end
    permit = next_permit()
end
local retry_in = 0
if #delays == 0 and is_known then
    retry_in = math.max(0, first - now - lead / 2)
end
if is_bulk and minute_reserve > limit.minute_reserve then
    retry_in = math.min(retry_in, math.max(constants.recheck, paused_until - now))
end

if request.wanted > 0 then
    local last = #delays > 0 and tonumber(delays[#delays]) or retry_in
    local member = request.member .. ' ' .. request.lane
    redis.call('HSET', members_key, member, string.format('%.6f', now + last + constants.member_ttl))
end
redis.call('LTRIM', minute_key, 0, minute_kept - 1)
redis.call('LTRIM', hour_key, 0, hour_kept - 1)
redis.call('LTRIM', interactive_key, 0, constants.record - 1)
redis.call(
    'HSET', state_key,
    'clock', string.format('%.6f', now),
    'offset', string.format('%.6f', offset),
    'full_at', string.format('%.9f', full_at),
    'paused_until', string.format('%.6f', paused_until),
    'recovery_since', string.format('%.6f', recovery_since),
    'slowdown', string.format('%.9f', slowdown)
)
for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, constants.expiry)
end

-- Redis would cut numbers down to integers.
return {
    state.store, tostring(others + 1),
    string.format('%.6f', first - now), string.format('%.6f', retry_in),
    tostring(used(minute_key, limit.minute_count, limit.minute_period)),
    tostring(used(hour_key, limit.hour_count, limit.hour_period)),
    tostring(since(interactive_key, now - 60)),
    unpack(delays),
}
