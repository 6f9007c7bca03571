"""From which process do ranks start?"""

import multiprocessing as mp
import signal
import tempfile
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext

from streamtwin.core.errors import UserError


def fork_server() -> ForkServerContext:
    """A server that has loaded the libraries once and holds no threads; started if it is not.

    It is started with SIGINT blocked, which it and the ranks inherit: a terminal sends Ctrl-C to
    all of them, the launcher alone decides what it ends, and a server that is still loading would
    answer with a traceback.

    Raises:
        UserError: its socket cannot be made in the folder for temporary files.
    """
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["streamtwin.runtime.worker"])
    resource_tracker.ensure_running()  # first, because starting it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise UserError(
            f"TMPDIR: ranks meet at a socket in {tempfile.gettempdir()}, which cannot be made: "
            f"{error}; name another folder, of a short path"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context
