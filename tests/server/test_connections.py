"""Rooms are pure: who waits, until when."""

from typing import Any

from picloud.server.connections import Room


class Someone:
    room = None


def someone() -> Any:
    """A connection, as far as rooms know."""
    return Someone()


def test_who_came_first_is_due_first() -> None:
    room, first, second = Room(10), someone(), someone()
    room.add(first, 100)
    room.add(second, 103)
    assert (len(room), room.first(), room.next_deadline(), first.room) == (2, first, 110, room)
    assert room.overdue(109) == []
    assert room.overdue(111) == [first]
    assert room.overdue(113) == [first, second]


def test_who_leaves_is_not_waited_for() -> None:
    room, only = Room(10), someone()
    room.add(only, 100)
    room.remove(only)
    assert (len(room), room.first(), room.next_deadline(), only.room) == (0, None, None, None)


def test_in_a_hurry_nobody_waits_longer() -> None:
    room, early, late, later = Room(10), someone(), someone(), someone()
    room.add(early, 100)
    room.add(late, 109)
    room.hurry(2, 109)
    room.add(later, 110)
    assert room.next_deadline() == 110
    assert room.overdue(111) == [early, late]
    assert room.overdue(112) == [early, late, later]
