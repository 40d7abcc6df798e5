"""Foreign text stays text."""

from chiron.core.printable import as_markdown, printable


def test_control_characters_are_written_out():
    assert printable("conv.weight é 1") == "conv.weight é 1"
    assert printable("a\n## b\x1b[2J\u202e\u2028") == "a\\n## b\\x1b[2J\\u202e\\u2028"


def test_markdown_is_shown_as_it_is():
    assert as_markdown("timm/resnet18.a1_in1k/model.safetensors") == "timm/resnet18.a1_in1k/model.safetensors"
    assert as_markdown("a](http:x)<b>\n# c") == r"a\](http:x)\<b\>\\n\# c"
