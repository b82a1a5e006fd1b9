import pytest


@pytest.fixture
def training(no_progress):
    """Return a function that sets the progress of a training of 100 epochs with 10 steps each."""

    def at(epoch):
        no_progress.update_info_dict(dict(epoch=epoch, max_epochs=100, iter=10 * epoch, max_iters=1000))

    return at
