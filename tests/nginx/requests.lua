-- What wrk asks for, and whether the answers are right. A connection that is lost or a
-- status other than 200 is counted by wrk itself.
local asked = {
    {"/hello?name=you", "hello, you\n"},
    {"/sum?n=1000", "500500\n"},
    {"/sum?n=100000", "5000050000\n"},
    {"/slow?ms=3", "done\n"},
}
local known = {}
for _, pair in ipairs(asked) do known[pair[2]] = true end
local count = 0

function request()
    count = count + 1
    -- mostly quick ones
    local pair = asked[count % 20 == 0 and 4 or count % 3 + 1]
    return wrk.format("GET", pair[1])
end

local threads = {}
wrong = 0

function setup(thread) table.insert(threads, thread) end

function response(status, headers, body)
    if status ~= 200 or not known[body] then wrong = wrong + 1 end
end

function done(summary)
    local total = 0
    for _, thread in ipairs(threads) do total = total + thread:get("wrong") end
    local errors = summary.errors
    print(string.format("answers %d wrong %d lost %d", summary.requests, total,
        errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
