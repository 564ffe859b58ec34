-- expect: script-error detail="(error object is a thread value)"
error(coroutine.create(print))
