from __future__ import annotations

from collections import Counter

from Neuron_Selection.ObservationTooling.pair_making.choice import choose


def chosen(clusters, n_pairs):
    return choose(clusters, n_pairs, traits=lambda pair: (pair[0],), clean=lambda pair: pair[1])


def test_clusters_take_turns_and_rare_traits_come_first():
    clusters = [[("a", f"{cluster}-{n}") for n in range(9)] + [("b", f"{cluster}-b")] for cluster in range(3)]
    pairs = chosen(clusters, 6)
    assert [clean[0] for _, clean in pairs] == ["0", "1", "2", "0", "1", "2"]
    assert Counter(trait for trait, _ in pairs) == {"a": 3, "b": 3}


def test_no_clean_input_comes_twice_and_what_is_left_is_taken():
    clusters = [[("a", "same"), ("b", "same"), ("a", "other")], [("a", "same")]]
    assert chosen(clusters, 9) == [("a", "same"), ("a", "other")]


def test_among_equals_the_order_decides():
    assert chosen([[("a", "1"), ("b", "2"), ("a", "3")]], 3) == [("a", "1"), ("b", "2"), ("a", "3")]
