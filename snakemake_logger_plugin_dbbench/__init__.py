"""Snakemake finds this package by its name (`snakemake --logger dbbench`, set by profiles/default) and sends it its events."""

import logging
import sys
from logging import LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase

from dbbench.terminal import Screen


class LogHandler(LogHandlerBase):
    """Passes events on to the screen of `dbbench.terminal`."""

    def __post_init__(self) -> None:
        logging.raiseExceptions = False  # a log file of Snakemake's on a full disk is not worth a traceback for each line
        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        terminal = stream.isatty() and sys.stdout.isatty() and not self.common_settings.nocolor
        self.screen = Screen(stream, self.common_settings.dryrun, self.format, terminal)

    def emit(self, record: LogRecord) -> None:
        """Take an event; with --verbose, print it as Snakemake does."""
        if not self.common_settings.verbose:
            self.screen.take(record)
        elif text := self.format(record):
            print(text, file=self.screen.stream, flush=True)

    def close(self) -> None:
        """The last event was taken."""
        self.screen.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """It replaces Snakemake's own lines."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake writes its log file itself."""
        return False

    @property
    def has_filter(self) -> bool:
        """Snakemake's filter knows --quiet and --printshellcmds."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Snakemake's formatter is used."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False
