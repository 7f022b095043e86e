"""The grammar of the demo world's captions: every way in which a scene may be put into words."""

from numpy.random import Generator

from editor.demo.words import LOOKS, PLACES, SUBJECTS, Scene

_PLAIN = ("{thing} {place}", "{thing} is {verb} {place}", "a video of {thing} {place}", "a picture of {thing} {place}")
_LOOKED = ("{base}, {look}", "{base} {look}", "{look}, {base}")


def noun_phrase(scene: Scene) -> str:
    """The subject with its colour and article: "an orange car", "a penguin"."""
    words = f"{scene.color} {scene.subject}" if scene.color else scene.subject
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption(scene: Scene, wording: int = 0, look_wording: int = 0) -> str:
    """The scene in words. `wording` and `look_wording` choose among the grammar's forms; 0 is the plainest."""
    verbs = SUBJECTS[scene.subject].verbs
    form = _PLAIN[wording % len(_PLAIN)]
    base = form.format(
        thing=noun_phrase(scene), place=PLACES[scene.place], verb=verbs[wording // len(_PLAIN) % len(verbs)]
    )
    looks = LOOKS[scene.look]
    if not looks:
        return base
    look = looks[look_wording // len(_LOOKED) % len(looks)]
    return _LOOKED[look_wording % len(_LOOKED)].format(base=base, look=look)


def any_caption(scene: Scene, rng: Generator) -> str:
    """One caption at random; the plainest form is the most frequent."""
    wording = 0 if rng.random() < 0.4 else int(rng.integers(8))
    return caption(scene, wording, int(rng.integers(6)))
