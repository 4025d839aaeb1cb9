"""What turns a PersRM into rewards while an engine decodes: one guide for each way of reading a preference."""

from pad_langchain.persrm.guides.byte_level import ByteLevelGuide, fitting_guide
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.guides.self_guide import SelfGuide
from pad_langchain.persrm.guides.text import ModelGuide

__all__ = ["ByteLevelGuide", "HeadGuide", "ModelGuide", "SelfGuide", "fitting_guide"]
