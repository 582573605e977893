"""Which names fit which drawings: an owl is a bird too, so "Is there a bird?" is no fair question beside an owl."""

from __future__ import annotations

from minigpt4v.datasets.emoji import Noun

# A name, and the other things that may be called so or whose drawings show one. Names that contain a name as a word
# ("fire truck") need no entry; names that a world does not have do no harm.
_ALSO_FITS = {
    "barrel": ("drum",),
    "bear": ("koala", "panda"),
    "bird": ("owl", "penguin", "turkey", "chicken", "chick", "dove", "eagle", "duck"),
    "box": ("gift", "mailbox", "briefcase"),
    "bus": ("van", "tram"),
    "cactus": ("desert",),
    "candle": ("cake",),
    "candy": ("lollipop", "chocolate bar"),
    "car": ("taxi", "ambulance", "truck", "fire truck", "van"),
    "cat": ("tiger", "leopard"),
    "chicken": ("chick",),
    "christmas tree": ("pine tree",),
    "cloud": ("rainbow", "tornado"),
    "computer": ("keyboard", "printer", "floppy disk", "disc"),
    "cookie": ("rice cracker",),
    "cow": ("buffalo",),
    "cup of tea": ("cup of coffee",),
    "diamond": ("ring",),
    "document": ("newspaper", "clipboard", "scroll", "folder", "briefcase"),
    "dog": ("poodle",),
    "egg": ("fried egg",),
    "fallen leaf": ("maple leaf", "tree"),
    "fish": ("shark", "pufferfish", "dolphin", "whale", "squid", "fishing rod"),
    "football": ("soccer ball",),
    "hammer": ("pickaxe",),
    "handbag": ("purse", "briefcase"),
    "hat": ("graduation cap", "helmet"),
    "keyboard": ("piano",),
    "loaf of bread": ("baguette", "croissant"),
    "lock": ("key",),
    "melon": ("watermelon",),
    "motorcycle": ("scooter",),
    "mountain": ("volcano",),
    "mouse": ("hamster",),
    "painting": ("palette",),
    "pair of glasses": ("pair of sunglasses",),
    "pencil": ("pen", "crayon"),
    "pig": ("boar",),
    "purse": ("money bag",),
    "race car": ("motorcycle",),
    "rose": ("bouquet",),
    "ruler": ("set square",),
    "ship": ("sailboat", "speedboat", "canoe"),
    "shirt": ("tank top", "tie"),
    "shoe": ("boot", "high heel", "sandal", "ice skate"),
    "sun": ("desert",),
    "sunflower": ("bouquet",),
    "taco": ("burrito",),
    "telephone": ("mobile phone",),
    "tornado": ("cyclone",),
    "train": ("bullet train", "subway", "tram"),
    "tulip": ("bouquet",),
}


def may_be_called(thing: Noun, name: Noun) -> bool:
    """Whether a picture of `thing` might be said to show what `name` names, though that is another noun.

    It is so by the words of its own name (a pine tree is a tree) or by common use (an owl is a bird).
    """
    if thing.id == name.id:
        return False
    inside = f" {name.en} " in f" {thing.en} "
    return inside or thing.en in _ALSO_FITS.get(name.en, ())
