-- Who goes when: the rules of quota.py, kept in Redis. schedule.py does the same in SQLite, with more words.
--
-- KEYS: state (hash), minute and hour (lists of instants, newest first), members (hash: "member lane" -> until)
-- ARGV: the request as JSON, constants as JSON, a name for the store in case it is new
-- Returns as texts: name of the store, members, opens_in, retry_in, and the delays of the places.
-- Instants are seconds by the clock of the server, kept from going back.

local state_key, minute_key, hour_key, members_key = unpack(KEYS)
local request, constants = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local terms = request.terms

redis.call('HSETNX', state_key, 'store', ARGV[3])
local state = {}
local fields = redis.call('HGETALL', state_key)
for i = 1, #fields, 2 do
    state[fields[i]] = fields[i + 1]
end

local function number(name)
    return tonumber(state[name] or '0')
end

local time = redis.call('TIME')
local offset = number('offset')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6 + offset
if now < number('clock') then
    offset = offset + number('clock') - now
    now = number('clock')
end
local full_at, paused_until = number('full_at'), number('paused_until')
local recovery_since, slowness = number('recovery_since'), number('slowness')

-- Windows ------------------------------------------------------------------------------------------------------

local function at(log, place)
    return tonumber(redis.call('LINDEX', log, place) or '0')
end

local function ready_at(log, count, period)
    if count == 0 or redis.call('LLEN', log) < count then
        return 0
    end
    return at(log, count - 1) + period
end

local function note(log, instant)
    instant = math.max(instant, at(log, 0))
    redis.call('LPUSH', log, string.format('%.6f', instant))
end

local function used(log, since)
    local low, high = 0, redis.call('LLEN', log)
    while low < high do
        local middle = math.floor((low + high) / 2)
        if at(log, middle) > since then
            low = middle + 1
        else
            high = middle
        end
    end
    return low
end

local function add(log, count, period, unrecorded, usage)
    if usage > 0 then
        unrecorded = unrecorded + math.max(0, usage - unrecorded - used(log, now - period))
    end
    for _ = 1, math.min(unrecorded, count > 0 and count or constants.record) do
        note(log, now)
    end
end

-- The token bucket and its recovery from a refusal ----------------------------------------------------------------

local function slowness_at(instant)
    return slowness * math.max(0, math.min(1, 1 - (instant - recovery_since) / constants.recovery))
end

local function interval_at(instant)
    local normal = terms.interval
    return normal + slowness_at(instant) * (normal > 0 and normal or constants.unpaced_interval)
end

local function take_token(instant)
    local interval = interval_at(instant)
    local full = math.min(math.max(full_at, instant) + interval, instant + terms.tolerance + interval)
    full_at = math.max(full_at, full)
end

-- What the member says ------------------------------------------------------------------------------------------

add(minute_key, terms.minute_count, terms.minute_period, request.minute_unrecorded, request.minute_usage)
add(hour_key, terms.hour_count, terms.hour_period, request.hour_unrecorded, request.hour_usage)

if request.pause > 0 or request.refused then
    paused_until = math.max(paused_until, now + request.pause)
end
if request.refused then
    if now < recovery_since then
        recovery_since = math.max(recovery_since, paused_until)
    else
        slowness = math.min(constants.max_slowness, 1 + 2 * slowness_at(paused_until))
        recovery_since = paused_until
    end
    full_at = math.max(full_at, recovery_since + terms.tolerance)
end

-- Who else waits ------------------------------------------------------------------------------------------------

local peers, rivals, others, seen = 0, 0, 0, {}
local entries = redis.call('HGETALL', members_key)
for i = 1, #entries, 2 do
    local member, lane = string.match(entries[i], '^(%S+) (%S+)$')
    if tonumber(entries[i + 1]) <= now then
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

local batch = constants.batch
if rivals > 0 then
    batch = request.lane == 'interactive' and constants.batch or 1
elseif terms.interval > 0 then
    batch = math.max(1, math.min(batch, math.floor(constants.horizon / terms.interval / (peers + 1))))
end
batch = math.min(batch, request.wanted)

-- Places ------------------------------------------------------------------------------------------------------

local function next_place()
    return math.max(
        now,
        paused_until,
        math.max(full_at, now) - terms.tolerance,
        ready_at(minute_key, terms.minute_count, terms.minute_period),
        ready_at(hour_key, terms.hour_count, terms.hour_period)
    )
end

local first = next_place()
local place = first
local delays = {}
while #delays < batch and place <= now + constants.hold do
    delays[#delays + 1] = string.format('%.6f', place - now)
    take_token(place)
    note(minute_key, place)
    note(hour_key, place)
    place = next_place()
end
local retry_in = 0
if #delays == 0 then
    retry_in = math.max(0, first - now - constants.hold / 2)
end

if request.wanted > 0 then
    local last = #delays > 0 and tonumber(delays[#delays]) or retry_in
    local member = request.member .. ' ' .. request.lane
    redis.call('HSET', members_key, member, string.format('%.6f', now + last + constants.grace))
end
redis.call('LTRIM', minute_key, 0, constants.record - 1)
redis.call('LTRIM', hour_key, 0, constants.record - 1)
redis.call(
    'HSET', state_key,
    'clock', string.format('%.6f', now),
    'offset', string.format('%.6f', offset),
    'full_at', string.format('%.9f', full_at),
    'paused_until', string.format('%.6f', paused_until),
    'recovery_since', string.format('%.6f', recovery_since),
    'slowness', string.format('%.9f', slowness)
)
for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, constants.expiry)
end

-- Redis would cut numbers down to integers.
return {
    state.store, tostring(others + 1),
    string.format('%.6f', first - now), string.format('%.6f', retry_in),
    unpack(delays),
}
