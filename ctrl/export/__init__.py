"""Controllers as self-contained C99 projects."""

from ctrl.export.code import CodePart, ControllerCode, Member, NotExportable, fragment
from ctrl.export.project import Exportable, export

__all__ = ["CodePart", "ControllerCode", "Exportable", "Member", "NotExportable", "export", "fragment"]
