"""Looks side by side: one that hangs or breaks is told of, and spoils no other."""

import threading

from service.doctor.check import ok, worst
from service.doctor.lanes import Lane, run


def test_a_look_that_hangs_keeps_what_it_has_found_and_is_told_of():
    stop = threading.Event()

    def hang():
        yield ok('first', 'Found.')
        stop.wait(60)
        yield ok('second', 'Too late.')

    try:
        hung, fine = run([Lane('hung', hang, 1.5), Lane('fine', lambda: iter([ok('a', 'b')]), 30)])
    finally:
        stop.set()
    assert [(check['check'], check['result']) for check in hung] == [
        ('first', 'ok'),
        ('hung', 'fail'),
    ]
    assert hung[1]['detail'] == 'No answer within 1.5 seconds.'
    assert fine == [ok('a', 'b')]


def test_a_look_that_breaks_is_told_of_without_its_text():
    def broken():
        raise ValueError('a secret')
        yield

    ((check,),) = run([Lane('broken', broken, 30)])
    assert (check['check'], check['result']) == ('broken', 'fail')
    assert 'ValueError' in check['detail']
    assert 'secret' not in check['detail']


def test_the_worst_counts():
    assert worst([]) == 'ok'
    assert worst([ok('a', 'b'), {**ok('c', 'd'), 'result': 'warn'}]) == 'warn'
