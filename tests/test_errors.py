"""An invalid request says each field that is wrong, for people and for programs."""

from picloud.errors import InvalidRequest


def test_one_field_is_named_in_both() -> None:
    error = InvalidRequest.of("limit", "must be at least 1", "?")
    assert str(error) == "?limit: must be at least 1"
    assert error.errors == [{"field": "limit", "message": "must be at least 1"}]


def test_people_are_told_of_the_first_few_and_programs_of_all() -> None:
    wrong = [(f"f{at}", "is wrong") for at in range(7)]
    error = InvalidRequest.of_all(wrong)
    assert str(error) == "; ".join(f"f{at}: is wrong" for at in range(5))
    assert [one["field"] for one in error.errors] == [field for field, _ in wrong]
