"""What several processes decide together, so that none waits for another that has given up."""

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from ..errors import UserError


def from_main(make):
    """What ``make`` returns on rank 0, on all ranks."""
    found = [make() if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


def on_all_ranks(make):
    """What ``make`` returns on each rank; a UserError on one of them is raised on all.

    ``make`` must not wait for other ranks itself.

    Raises:
        UserError: With the message of the lowest rank that failed. ``everywhere`` is set: one rank is to print it.
    """
    value, message = None, None
    try:
        value = make()
    except UserError as error:
        message = str(error)
    messages = all_gather_object(message)
    failed = [(rank, text) for rank, text in enumerate(messages) if text is not None]
    if failed:
        rank, text = failed[0]
        error = UserError(text if len(failed) == len(messages) else f'on rank {rank}: {text}')
        error.everywhere = True
        raise error
    return value
