"""Attempts one after the other, with a classifier whose answers are known: the class is the image's value, rounded."""

import torch

from aemim_mm.attacks import keep_first_success


def predict(images):
    return images.flatten(1).mean(dim=1).round().long()


def moves(amount, seen):
    def attack(x, labels):
        seen.append(labels.tolist())
        return x + amount

    return attack


def test_only_what_is_left_is_tried_again_and_the_first_success_is_kept():
    x = torch.tensor([0.0, 1.3, 2.0, 3.4, 4.1]).reshape(5, 1, 1, 1)
    labels = torch.tensor([0, 1, 9, 3, 4])  # The third is wrong already.
    seen = []
    result = keep_first_success([moves(0.2, seen), moves(0.39, seen), moves(-0.1, seen)], predict, x, labels)
    # +0.2 breaks 3.4 (3.6) and 1.3 (1.5 rounds to 2); +0.39 leaves 0 (0.39) and 4.1 (4.49).
    assert seen == [[0, 1, 3, 4], [0, 4], [0, 4]]
    assert result.attempt.tolist() == [-1, 1, 0, 1, -1]
    assert result.success.tolist() == [False, True, True, True, False]
    torch.testing.assert_close(result.x_adv.flatten(), torch.tensor([-0.1, 1.5, 2.0, 3.6, 4.0]))


def test_stops_when_nothing_is_left_and_leaves_the_images_alone():
    x = torch.zeros(2, 1, 1, 1)
    seen = []
    result = keep_first_success([moves(1, seen), moves(2, seen)], predict, x, torch.tensor([0, 0]))
    assert seen == [[0, 0]] and result.attempt.tolist() == [1, 1]
    assert not x.any()


def test_without_attempts_it_is_the_clean_classifier():
    x = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    result = keep_first_success([], predict, x, torch.tensor([0, 0]))
    assert result.attempt.tolist() == [-1, 0] and torch.equal(result.x_adv, x)
