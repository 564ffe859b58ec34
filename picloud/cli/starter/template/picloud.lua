---@meta
-- What a PiCloud script can name, for editors with lua-language-server. It is never run and never uploaded.
-- Lua's own globals are listed as well: a sandbox has no io, debug, package, dofile, loadfile, collectgarbage or warn.

------------------------------------------------------------------------------------------------ request and response

---One call of the script. It is the handler's argument, and a global of this name.
---@class picloud.Request
---@field method string `GET`, `POST`, …
---@field path string Whole and decoded: `/fn/hello/a b`.
---@field params table<string, string> The route's parameters, decoded; `params.rest` is what follows `/fn/NAME/`.
---@field query table<string, string> The first value of each parameter.
---@field query_all table<string, string[]> All values of each parameter.
---@field headers table<string, string> Names in lower case, found in any case; repeats joined by `, `.
---@field cookies table<string, string>
---@field body string The bytes as they were sent.
---@field host string
---@field remote_addr string
---@field id string The invocation's.
---@field trigger "http"|"invoke"|"job"|"event"|"schedule" Why the script runs.
---@field event any The event that the script runs for; nil without one.
request = {}

---The body decoded from JSON. What is no JSON is an error; uncaught it answers 400.
---@return any
function request:json() end

---The fields of an urlencoded body. Another content type is an error; uncaught it answers 400.
---@return table<string, string> first The first value of each field.
---@return table<string, string[]> all All values of each field.
function request:form() end

---What a script may return. A string is text, a number, a boolean or any other table JSON, nil an empty 204.
---@class picloud.Response
---@field status? integer 200 to 599; without it 200.
---@field headers? table<string, string|number|(string|number)[]> A list is sent as one header for each.
---@field body? string|number|boolean|table A table is sent as JSON.

---@alias picloud.Handler fun(request: picloud.Request): picloud.Response|string|number|boolean|table|nil

------------------------------------------------------------------------------------------------- globals of PiCloud

---The script's variables, as `picloud env set NAME KEY=VALUE` sets them.
---@type table<string, string>
env = {}

---JSON. `{}` is an object; lists that were decoded stay lists; keys come out sorted.
json = {}

---JSON's null, where a table cannot hold nil.
---@type table
json.null = {}

---A value as JSON. NaN, infinity, tables with holes or mixed keys, and invalid UTF-8 are errors that name the path.
---@param value any
---@param options? { indent: integer } Spaces of each level; without it, one line.
---@return string
function json.encode(value, options) end

---The value of a JSON text; an error names the position.
---@param text string
---@return any
function json.decode(text) end

---The same table, as a JSON array even when it is empty.
---@generic T
---@param list? T[]
---@return T[]
function json.array(list) end

---The script's log: `picloud logs NAME` shows it. A message that is no string is shown as JSON.
log = {}

---@param message any
---@param fields? table<string, any> What belongs to the line, as a JSON object.
function log.debug(message, fields) end

---@param message any
---@param fields? table<string, any> What belongs to the line, as a JSON object.
function log.info(message, fields) end

---@param message any
---@param fields? table<string, any> What belongs to the line, as a JSON object.
function log.warn(message, fields) end

---@param message any
---@param fields? table<string, any> What belongs to the line, as a JSON object.
function log.error(message, fields) end

---`log.info` of the arguments, with tabs between.
function print(...) end

base64 = {}

---Padded, the alphabet with `+` and `/`.
---@param bytes string
---@return string
function base64.encode(bytes) end

---@param text string
---@return string bytes
function base64.decode(text) end

---Without padding, the alphabet with `-` and `_`.
---@param bytes string
---@return string
function base64.url_encode(bytes) end

---Padding may be there or not.
---@param text string
---@return string bytes
function base64.url_decode(text) end

url = {}

---The parts of a URL; what is missing is nil.
---@class picloud.Url
---@field scheme? string
---@field user? string
---@field password? string
---@field host? string
---@field port? integer
---@field path? string
---@field query? string|table<string, string|number|boolean|(string|number|boolean)[]> Text where it was parsed.
---@field fragment? string

---Text that is safe as one path segment or query value; a space is `%20`.
---@param text string
---@return string
function url.encode(text) end

---`+` stays `+`.
---@param text string
---@return string
function url.decode(text) end

---@param text string
---@return picloud.Url
function url.parse(text) end

---The inverse of `url.parse`; `query` may be a table, the path is taken as it is.
---@param parts picloud.Url
---@return string
function url.build(parts) end

html = {}

---Text made safe inside HTML, in content and in quoted attributes.
---@param text string
---@return string
function html.escape(text) end

---Requests to other servers; public ones only, unless the operator says otherwise.
http = {}

---@class picloud.HttpOptions
---@field headers? table<string, string|number|(string|number)[]>
---@field timeout_ms? integer From the call to the last byte; without it 5000.
---@field redirect? "follow"|"manual"|"error"

---@class picloud.HttpRequest: picloud.HttpOptions
---@field url string `http://` or `https://`, printable ASCII.
---@field method? string GET; with a body POST.
---@field body? string|number|boolean|table A table is sent as JSON.

---What a server answered.
---@class picloud.HttpResponse
---@field status integer
---@field headers table<string, string> Names in lower case, found in any case; repeats joined by `, `.
---@field body string
---@field url string The last one, after redirects.
local HttpResponse = {}

---The body decoded from JSON; an error if it is none.
---@return any
function HttpResponse:json() end

---@param options picloud.HttpRequest
---@return picloud.HttpResponse
function http.fetch(options) end

---@param url string
---@param options? picloud.HttpOptions
---@return picloud.HttpResponse
function http.get(url, options) end

---@param url string
---@param body? string|number|boolean|table A table is sent as JSON.
---@param options? picloud.HttpOptions
---@return picloud.HttpResponse
function http.post(url, body, options) end

---Moments: seconds since 1970 UTC, and RFC 3339 text.
time = {}

---Now, with milliseconds.
---@return number seconds
function time.now() end

---Now, in whole seconds.
---@return integer seconds
function time.unix() end

---@class picloud.FormatOptions
---@field ms? boolean Whether to write milliseconds.
---@field pattern? string With the letters of `os.date`, in place of RFC 3339.
---@field zone? string `Europe/Berlin`; without it, UTC.

---Which one is meant of a time that comes twice or is skipped; without it, the first, and counted on from before.
---@alias picloud.Ambiguous "earlier"|"later"|"error"

---@class picloud.ParseOptions
---@field zone? string The text is what clocks show there, without an offset.
---@field ambiguous? picloud.Ambiguous

---@class picloud.Calendar
---@field year integer
---@field month integer
---@field day integer
---@field hour? integer
---@field min? integer
---@field sec? integer
---@field wday? integer 1 is Sunday.
---@field yday? integer
---@field isdst? boolean
---@field zone? string `Europe/Berlin`; without it, UTC.
---@field offset? integer Seconds that its clocks are ahead of UTC.
---@field abbreviation? string `CEST`.

---`2024-02-29T12:00:00Z`, or `2024-02-29T13:00:00+01:00` in a zone.
---@param seconds number
---@param options? picloud.FormatOptions
---@return string
function time.format(seconds, options) end

---An integer, or a float if the text has a fraction.
---@param text string As RFC 3339 writes a moment, with any offset; in a zone, without one.
---@param options? picloud.ParseOptions
---@return number seconds
function time.parse(text, options) end

---What a calendar and a clock show.
---@param seconds number
---@param zone? string `Europe/Berlin`; without it, UTC.
---@return picloud.Calendar
function time.calendar(seconds, zone) end

---The inverse; fields that are out of their range are carried.
---@param calendar picloud.Calendar
---@param ambiguous? picloud.Ambiguous
---@return integer seconds
function time.seconds(calendar, ambiguous) end

---Text with `{{name}}` escaped for HTML, `{{{name}}}` as it is, `{{#name}}…{{/name}}` for each or if there is something,
---`{{^name}}…{{/name}}` if there is nothing, and `{{! a comment }}`.
template = {}

---@param text string
---@param name? string What errors call it.
---@return fun(data: table): string
function template.compile(text, name) end

---@param text string
---@param data table
---@param name? string What errors call it.
---@return string
function template.render(text, data, name) end

crypto = {}

---@param text string
---@return string digits 64 of hex.
function crypto.sha256(text) end

---@param text string
---@return string digits 128 of hex.
function crypto.sha512(text) end

---@param key string
---@param text string
---@return string digits 64 of hex.
function crypto.hmac_sha256(key, text) end

---@param key string
---@param text string
---@return string digits 128 of hex.
function crypto.hmac_sha512(key, text) end

---Whether they are equal, in a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

---@param bytes string
---@return string digits Of hex, two for each byte.
function crypto.hex(bytes) end

---@param digits string Of hex, two for each byte.
---@return string bytes
function crypto.unhex(digits) end

---Raw bytes, fit for secrets.
---@param count integer At most 65536.
---@return string bytes
function crypto.random_bytes(count) end

---A random UUID.
---@return string
function crypto.uuid4() end

---A UUID that begins with the time, so that later ones sort behind.
---@return string
function crypto.uuid7() end

---A JSON Web Token, signed with HS256.
---@param claims table<string, any> `exp`, `nbf` and `iat` are seconds since 1970.
---@param key string 32 bytes or more.
---@return string token
function crypto.jwt_sign(claims, key) end

---@class picloud.JwtOptions
---@field iss? string What the claim must be.
---@field aud? string What the claim must be, or have in its list.
---@field leeway? number Seconds that clocks may differ.

---The claims of a token that can be believed; or nil and why it is refused.
---@param token? string
---@param key string 32 bytes or more.
---@param options? picloud.JwtOptions
---@return table<string, any>? claims
---@return string? reason
function crypto.jwt_verify(token, key, options) end

---Values that the script's setting `secrets` grants it by name; masked in its log and its errors.
secrets = {}

---The value; nil if there is no such secret. An error if it is not granted.
---@param name string
---@return string?
function secrets.get(name) end

---Keys and values that last. What is written is stored when the handler returns, with everything else, or not at all.
---@class picloud.kv
kv = {}

---@class picloud.SetOptions
---@field ttl? number Seconds until the key is gone; without it, never.
---@field if_version? integer Only if this version is there; 0: only if there is none.

---@class picloud.ListOptions
---@field prefix? string Keys that begin with this.
---@field after? string Keys behind this one: the last of the page before.
---@field limit? integer 1 to 100; without it, 100.

---@class picloud.Entry
---@field key string
---@field value any
---@field version integer

---The value and its version; nil if there is none.
---@param key string 1 to 512 bytes.
---@return any value
---@return integer? version
function kv.get(key) end

---Store a value that can be JSON, or bytes: at most 256 KiB.
---@param key string
---@param value any
---@param options? picloud.SetOptions
---@return integer? version nil: `if_version` is not the one that is there.
function kv.set(key, value, options) end

---@param key string
---@param options? { if_version: integer }
---@return boolean gone Whether it was there, in that version if one is named, and now is not.
function kv.delete(key, options) end

---Add to an integer; a key that is not there begins at 0.
---@param key string
---@param by? integer Without it, 1.
---@param options? { ttl: number } Seconds that a key which begins lasts.
---@return integer
function kv.incr(key, by, options) end

---Key → value of those that are there, all as of one moment.
---@param keys string[] At most 100.
---@return table<string, any>
function kv.get_many(keys) end

---In the order of the keys' bytes; fewer than asked for where they are more than 4 MiB.
---@param options? picloud.ListOptions
---@return picloud.Entry[]
function kv.list(options) end

---A space that several scripts share: those whose setting `kv` names it.
---@param name string
---@return picloud.kv
function kv.open(name) end

---@class picloud.Invoke
---@field method? string Without it, POST.
---@field path? string
---@field query? table<string, string>|string
---@field headers? table<string, string>
---@field body? string|table A table is sent as JSON.

---@class picloud.Answer
---@field status integer
---@field headers table<string, string> Lower-case names.
---@field body string
---@field json fun(self: picloud.Answer): any

---Run another script as part of this invocation: what it writes is stored with it, or not at all.
---@param name string
---@param request? picloud.Invoke
---@return picloud.Answer
function invoke(name, request) end

---Work for later: runs of scripts that are asked for now. They are stored with what the invocation does, or not at all.
jobs = {}

---@class picloud.JobOptions
---@field delay_s? number In so many seconds.
---@field at? string|number Then instead: RFC 3339, or seconds since 1970.
---@field key? string Of a script's jobs, one is kept with a key.
---@field max_attempts? integer 1 to 100; without it, as the settings of the script that runs say.
---@field priority? integer -100 to 100; without it, 0.
---@field ordering_key? string Those with the same one run one after the other.

---Have a script run with a payload as its body. It sees `request.trigger` `job`.
---@param name string
---@param payload? any What can be JSON.
---@param options? picloud.JobOptions
---@return string id
---@return boolean created false: there is one with its key.
function jobs.send(name, payload, options) end

---@param id string Of a job that this script has sent, or one of its own.
---@return boolean cancelled Whether it was waiting, and now never runs.
function jobs.cancel(id) end

---Have a global function of this script called in a run of its own once the answer has left; or another script run.
---@param name string
---@param payload? any
---@return string id
function after(name, payload) end

---What has happened, told to the scripts that are subscribed to it.
events = {}

---@class picloud.PublishOptions
---@field subject? string Of what: `order 7`.
---@field id? string With the source it is there once; without it, a new one.
---@field source? string Who says so; without it, `/scripts/NAME`.
---@field time? string RFC 3339; without it, now.

---Publish an event, with all else that the invocation does: each script that is subscribed to its type gets a job.
---@param type string `order.created`
---@param data? any What can be JSON.
---@param options? picloud.PublishOptions
---@return string id
function events.publish(type, data, options) end

---When this script runs by itself. It sees `request.trigger` `schedule`.
schedule = {}

---Either `cron` or `every`.
---@class picloud.ScheduleOptions
---@field cron? string `*/5 * * * *`, 6 fields with the second first, or `@daily`.
---@field every? string `10 minutes`, `day`, `monday`.
---@field at? string With `every`: `09:00`.
---@field timezone? string `Europe/Berlin`; without it, `UTC`.
---@field payload? any What can be JSON: the body of the requests.
---@field overlap? "skip"|"queue"|"allow" While an earlier run is not over.
---@field missed? "run-once"|"run-all"|"skip" What nobody was there to run.
---@field missed_within_s? integer Later than that, it does not run; without it, a day.
---@field jitter_s? integer Runs begin up to so much later.
---@field script? string This script; no other may be named.

---Make a schedule of this script, or change it.
---@param name string
---@param options picloud.ScheduleOptions
---@return string? next_due When it is due next, RFC 3339; nil if never.
function schedule.set(name, options) end

---@param name string
---@return boolean removed Whether it was there.
function schedule.remove(name) end

---Those that this script has set, by name: their options, with `name` and `next_due`.
---@return table[]
function schedule.list() end

---@param name string
---@return table? schedule One that this script has set; nil if there is none.
function schedule.get(name) end

---Return this, as the answer or as its `body`, to send the body while it is made: `write` sends a piece at once.
---What the invocation did is stored before; after that `kv` and `invoke` are an error.
---@param make fun(write: fun(text: string|number))
---@return function
function stream(make) end

---The files of the script's bundle.
files = {}

---The text of a file of the bundle.
---@param path string `page.html`, `pages/index.html`
---@return string
function files.read(path) end

---What `a/b.lua` of the bundle returned for `require "a.b"`; it runs once.
---@param name string
---@return any
function require(name) end

---Leave at once. `error{ status = 409, body = … }` answers exactly that, 500 without a status.
---@param message string|picloud.Response|any
---@param level? integer
function error(message, level) end

------------------------------------------------------------------------------------------------- Lua's own, basics

---The table of all globals.
---@type table<string, any>
_G = {}

---@type string
_VERSION = "Lua 5.4"

---Its arguments if the first is true, else an error with the message.
---@generic T
---@param value? T
---@param message? any
---@return T
---@return any ...
function assert(value, message, ...) end

---@param object any
---@return table|nil
function getmetatable(object) end

---@generic T: table, V
---@param list T
---@return fun(table: V[], i?: integer): integer, V
---@return T
---@return integer i
function ipairs(list) end

---Text only, no bytecode.
---@param chunk string|function
---@param name? string
---@param mode? "t"|"bt"
---@param scope? table Its globals.
---@return function?
---@return string? message
function load(chunk, name, mode, scope) end

---@generic K, V
---@param table table<K, V>
---@param index? K
---@return K?
---@return V?
function next(table, index) end

---@generic T: table, K, V
---@param table T
---@return fun(table: table<K, V>, index?: K): K, V
---@return T
function pairs(table) end

---@param f function
---@return boolean success
---@return any result
---@return any ...
function pcall(f, ...) end

---@param a any
---@param b any
---@return boolean
function rawequal(a, b) end

---@param table table
---@param index any
---@return any
function rawget(table, index) end

---@param value table|string
---@return integer
function rawlen(value) end

---@param table table
---@param index any
---@param value any
---@return table
function rawset(table, index, value) end

---@param index integer|"#"
---@return any ...
function select(index, ...) end

---`__gc` is refused.
---@param table table
---@param metatable? table
---@return table
function setmetatable(table, metatable) end

---@param value any
---@param base? integer
---@return number?
function tonumber(value, base) end

---Addresses in it are not real ones.
---@param value any
---@return string
function tostring(value) end

---@param value any
---@return "nil"|"number"|"string"|"boolean"|"table"|"function"|"thread"
function type(value) end

---@param f function
---@param handler function
---@return boolean success
---@return any result
---@return any ...
function xpcall(f, handler, ...) end

------------------------------------------------------------------------------------------------ Lua's own, libraries

coroutine = {}

---@param co thread
---@return boolean done
---@return any error
function coroutine.close(co) end

---@param f function
---@return thread
function coroutine.create(f) end

---@param co? thread
---@return boolean
function coroutine.isyieldable(co) end

---@param co thread
---@return boolean success
---@return any ...
function coroutine.resume(co, ...) end

---@return thread
---@return boolean is_main
function coroutine.running() end

---@param co thread
---@return "running"|"suspended"|"normal"|"dead"
function coroutine.status(co) end

---@param f function
---@return fun(...): any
function coroutine.wrap(f) end

---@return any ...
function coroutine.yield(...) end

math = {}

---@type number
math.huge = 0.0
---@type integer
math.maxinteger = 0
---@type integer
math.mininteger = 0
---@type number
math.pi = 0.0

---@param x number
---@return number
function math.abs(x) end

---@param x number
---@return number
function math.acos(x) end

---@param x number
---@return number
function math.asin(x) end

---@param y number
---@param x? number
---@return number
function math.atan(y, x) end

---@param x number
---@return integer
function math.ceil(x) end

---@param x number
---@return number
function math.cos(x) end

---@param x number
---@return number
function math.deg(x) end

---@param x number
---@return number
function math.exp(x) end

---@param x number
---@return integer
function math.floor(x) end

---@param x number
---@param y number
---@return number
function math.fmod(x, y) end

---@param x number
---@param base? number
---@return number
function math.log(x, base) end

---@param x number
---@param ... number
---@return number
function math.max(x, ...) end

---@param x number
---@param ... number
---@return number
function math.min(x, ...) end

---@param x number
---@return number whole
---@return number fraction
function math.modf(x) end

---@param x number
---@return number
function math.rad(x) end

---Not fit for secrets: `crypto.random_bytes` is.
---@param m? integer
---@param n? integer
---@return number
function math.random(m, n) end

---@param x? integer
---@param y? integer
function math.randomseed(x, y) end

---@param x number
---@return number
function math.sin(x) end

---@param x number
---@return number
function math.sqrt(x) end

---@param x number
---@return number
function math.tan(x) end

---@param x any
---@return integer?
function math.tointeger(x) end

---@param x any
---@return "integer"|"float"|nil
function math.type(x) end

---@param m integer
---@param n integer
---@return boolean
function math.ult(m, n) end

os = {}

---@return number seconds Of CPU.
function os.clock() end

---Always UTC.
---@param format? string
---@param seconds? integer
---@return string|table
function os.date(format, seconds) end

---@param later integer
---@param earlier integer
---@return number seconds
function os.difftime(later, earlier) end

---Now, or the seconds of a date, which is UTC.
---@param date? { year: integer, month: integer, day: integer, hour?: integer, min?: integer, sec?: integer }
---@return integer seconds
function os.time(date) end

---@class stringlib
string = {}

---@param s string
---@param first? integer
---@param last? integer
---@return integer ...
function string.byte(s, first, last) end

---@param ... integer
---@return string
function string.char(...) end

---@param s string
---@param pattern string
---@param start? integer
---@param plain? boolean
---@return integer? first
---@return integer? last
---@return any ... Captures.
function string.find(s, pattern, start, plain) end

---@param template string
---@return string
function string.format(template, ...) end

---@param s string
---@param pattern string
---@param start? integer
---@return fun(): string, ...
function string.gmatch(s, pattern, start) end

---@param s string
---@param pattern string
---@param replacement string|number|table|function
---@param count? integer
---@return string
---@return integer count
function string.gsub(s, pattern, replacement, count) end

---@param s string
---@return integer
function string.len(s) end

---@param s string
---@return string
function string.lower(s) end

---@param s string
---@param pattern string
---@param start? integer
---@return any ... Captures.
function string.match(s, pattern, start) end

---@param format string
---@return string
function string.pack(format, ...) end

---@param format string
---@return integer
function string.packsize(format) end

---@param s string
---@param n integer
---@param separator? string
---@return string
function string.rep(s, n, separator) end

---@param s string
---@return string
function string.reverse(s) end

---@param s string
---@param first integer
---@param last? integer
---@return string
function string.sub(s, first, last) end

---@param format string
---@param s string
---@param position? integer
---@return any ...
function string.unpack(format, s, position) end

---@param s string
---@return string
function string.upper(s) end

table = {}

---@param list table
---@param separator? string
---@param first? integer
---@param last? integer
---@return string
function table.concat(list, separator, first, last) end

---@param list table
---@param position integer
---@param value any
---@overload fun(list: table, value: any)
function table.insert(list, position, value) end

---@param from table
---@param first integer
---@param last integer
---@param at integer
---@param to? table
---@return table
function table.move(from, first, last, at, to) end

---@return table
function table.pack(...) end

---@param list table
---@param position? integer
---@return any
function table.remove(list, position) end

---@generic T
---@param list T[]
---@param less? fun(a: T, b: T): boolean
function table.sort(list, less) end

---@param list table
---@param first? integer
---@param last? integer
---@return any ...
function table.unpack(list, first, last) end

utf8 = {}

---Matches one character.
---@type string
utf8.charpattern = ""

---@param ... integer
---@return string
function utf8.char(...) end

---@param s string
---@param first? integer
---@param last? integer
---@param lax? boolean
---@return integer ...
function utf8.codepoint(s, first, last, lax) end

---@param s string
---@param lax? boolean
---@return fun(s: string, at: integer): integer, integer
---@return string
---@return integer
function utf8.codes(s, lax) end

---@param s string
---@param first? integer
---@param last? integer
---@param lax? boolean
---@return integer?
---@return integer? position Of the first byte that is no UTF-8.
function utf8.len(s, first, last, lax) end

---@param s string
---@param n integer
---@param position? integer
---@return integer?
function utf8.offset(s, n, position) end
