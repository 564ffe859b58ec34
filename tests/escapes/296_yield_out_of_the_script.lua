-- expect: script-error detail~"outside a coroutine"
coroutine.yield("to whom?")
