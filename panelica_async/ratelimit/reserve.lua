-- A store in Redis. It repeats the arithmetic of rules.py and the decisions of store.grant, which sqlite.py uses
-- directly; tests/ratelimit/test_redis.py compares the two.
--
-- KEYS: state (hash), minute, hour and interactive (lists of instants, newest first; a g before an instant marks a
--       guess from the counts of the panel), members (hash: "member lane" -> until)
-- ARGV: the request as JSON, constants as JSON, a name for the store in case it is new
-- Returns texts: name of the store, members, opens_in, retry_in, the requests of the minute, of the hour, and of the
-- interactive lane in the minute, and the delays of the permits. Instants are seconds of the server's clock, corrected so
-- that they never go back.

local state_key, minute_key, hour_key, interactive_key, members_key = unpack(KEYS)
local request, constants = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local limit = request.limit

-- Data that no member wrote could stop all members forever, or block the other clients of the server.
for i, expected in ipairs({ 'hash', 'list', 'list', 'list', 'hash' }) do
    local actual = redis.call('TYPE', KEYS[i]).ok
    if actual ~= 'none' and actual ~= expected or actual == 'hash' and redis.call('HLEN', KEYS[i]) >= constants.max_members then
        redis.call('UNLINK', KEYS[i])
    end
end

local state = {}
local function state_number(name)
    return tonumber(state[name] or '0')
end

local fields = redis.call('HGETALL', state_key)
for i = 1, #fields, 2 do
    state[fields[i]] = fields[i + 1]
end
for name in pairs(state) do
    if name ~= 'store' and not (math.abs(state_number(name) or constants.far) < constants.far) then
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
local offset = state_number('offset')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6 + offset
if now < state_number('clock') then
    offset = offset + state_number('clock') - now
    now = state_number('clock')
end

-- Instants too far in the future would stop all members forever.
local latest = now + constants.max_wait
local paused_until = math.min(state_number('paused_until'), latest)
local recovery_since = math.min(state_number('recovery_since'), latest)
local slowdown = math.max(0, math.min(state_number('slowdown'), constants.max_slowdown))
local full_at = math.min(
    state_number('full_at'), latest + limit.tolerance + (1 + constants.max_slowdown) * limit.interval
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

local function record_request(log, instant)
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

-- How many requests of a log to keep: enough for this member, and for members with a larger limit.
local function kept_length(log, count)
    return math.min(math.max(count, redis.call('LLEN', log), constants.max_recorded), constants.max_counted)
end
local minute_kept, hour_kept = kept_length(minute_key, limit.minute_count), kept_length(hour_key, limit.hour_count)

-- Pushes entries, the oldest first, onto a log; a script cannot pass thousands of arguments at once.
local function push(log, entries, max_length)
    local kept = max_length - #entries
    if kept <= 0 then
        redis.call('DEL', log)
    else
        redis.call('LTRIM', log, 0, kept - 1)
    end
    for i = math.max(1, #entries - max_length + 1), #entries, 1000 do
        redis.call('LPUSH', log, unpack(entries, i, math.min(i + 999, #entries)))
    end
end

local function used(log, count, period)
    return math.min(since(log, now - period), count > 0 and count or constants.max_recorded)
end

-- Records requests that the panel counted and the store did not; returns how many.
local function add_usage(log, max_length, count, period, usage)
    local missing = math.min(usage - used(log, count, period), constants.max_recorded)
    local entry, entries = string.format('g%.6f', math.max(now, at(log, 0))), {}
    for i = 1, math.min(missing, count > 0 and count or constants.max_recorded) do
        entries[i] = entry
    end
    if missing > 0 then
        push(log, entries, max_length)
    end
    return math.max(0, missing)
end

-- Records the requests that the member reports, each in place of a guess that may stand for it.
local function add_report(log, max_length, period)
    local reported = {}
    for _, group in ipairs(request.unrecorded) do
        if group[1] < period then
            for _ = 1, math.min(group[2], constants.max_recorded) do
                reported[#reported + 1] = now - group[1]
            end
        end
    end
    if #reported == 0 then
        return
    end
    table.sort(reported)
    -- Requests before the reported ones stay: the report cannot explain them.
    local recent = since(log, reported[1] - 1e-5)
    local kept, unmatched = {}, #reported
    for _, entry in ipairs(recent > 0 and redis.call('LRANGE', log, 0, recent - 1) or {}) do
        local instant, is_explained = instant_of(entry), false
        if string.sub(entry, 1, 1) == 'g' then
            while unmatched > 0 and reported[unmatched] > instant do
                unmatched = unmatched - 1
            end
            is_explained = unmatched > 0
            unmatched = unmatched - (is_explained and 1 or 0)
        end
        if not is_explained then
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
    push(log, merged, max_length)
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
    local full_at_if_empty = instant + limit.tolerance + interval
    full_at = math.max(full_at, math.min(math.max(full_at, instant) + times * interval, full_at_if_empty))
end

-- What the member reports ------------------------------------------------------------------------------------------

add_report(minute_key, minute_kept, limit.minute_period)
add_report(hour_key, hour_kept, limit.hour_period)
for _, group in ipairs(request.unrecorded) do
    take_tokens(now - group[1], group[2])
end
-- A member that does not know yet that the store lost its memory must first report what it sent.
local is_up_to_date = request.store == '' or request.store == state.store
if is_up_to_date then
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
    local expires_at = tonumber(entries[i + 1])
    if not (member and expires_at and now < expires_at and expires_at < latest + constants.max_wait) then
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
local max_permits = is_up_to_date and math.min(batch, request.wanted) or 0

-- Permits --------------------------------------------------------------------------------------------------------

local opens_at = math.max(now, paused_until)

-- What bulk leaves to the interactive lane: interactive_reserve of rules.py.
local token_reserve, minute_reserve, hour_reserve = 0, 0, 0
if is_bulk then
    token_reserve, hour_reserve = limit.token_reserve, limit.hour_reserve
    if limit.minute_count > 0 then
        local in_window = since(interactive_key, opens_at - limit.minute_period)
        local recent = since(interactive_key, opens_at - constants.pace_window)
        local expected = math.max(in_window, recent * 60 / constants.pace_window)
        local wanted = expected + constants.traffic_margin * math.sqrt(expected) + limit.minute_reserve
        wanted = math.min(limit.minute_count * constants.largest_reserve, wanted)
        minute_reserve = math.max(0, math.floor(wanted) - in_window)
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
-- An interactive caller cannot use what bulk has reserved ahead of it. But if one permit of each member reaches further,
-- a member must be able to reserve behind the others, or it would always come too late.
local lead = constants.max_lead
if is_bulk and rivals == 0 then
    local reach = (peers + 1) * batch * interval_at(opens_at)
    lead = math.min(lead, math.max(constants.lookahead * request.scale, reach))
end
while #delays < max_permits and permit <= now + lead do
    delays[#delays + 1] = string.format('%.6f', permit - now)
    take_tokens(permit, 1)
    record_request(minute_key, permit)
    record_request(hour_key, permit)
    if not is_bulk then
        record_request(interactive_key, permit)
    end
    permit = next_permit()
end
local retry_in = 0
if #delays == 0 and is_up_to_date then
    retry_in = math.max(0, first - now - lead / 2)
end
if is_bulk and minute_reserve > limit.minute_reserve then
    retry_in = math.min(retry_in, math.max(constants.recheck_interval, paused_until - now))
end

if request.wanted > 0 then
    local last = #delays > 0 and tonumber(delays[#delays]) or retry_in
    local member = request.member .. ' ' .. request.lane
    redis.call('HSET', members_key, member, string.format('%.6f', now + last + constants.member_ttl))
end
redis.call('LTRIM', minute_key, 0, minute_kept - 1)
redis.call('LTRIM', hour_key, 0, hour_kept - 1)
redis.call('LTRIM', interactive_key, 0, constants.max_recorded - 1)
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

-- As texts, because Redis truncates numbers to integers.
return {
    state.store, tostring(others + 1),
    string.format('%.6f', first - now), string.format('%.6f', retry_in),
    tostring(used(minute_key, limit.minute_count, limit.minute_period)),
    tostring(used(hour_key, limit.hour_count, limit.hour_period)),
    tostring(since(interactive_key, now - 60)),
    unpack(delays),
}
