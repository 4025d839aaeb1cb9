"""Things the demo model does not know, so that it learns to say so. The last forty are held out for the report."""

from __future__ import annotations

import random

__all__ = ["HELD_OUT_UNKNOWNS", "UNKNOWNS", "pseudo_word", "unknown_name"]

_THINGS = """Napoleon|Cleopatra|Julius Caesar|Marie Curie|Isaac Newton|Leonardo da Vinci|Mozart|Shakespeare|Picasso|Gandhi
the French Revolution|the Roman Empire|the Cold War|the moon landing|the Renaissance|the Bronze Age|the Silk Road|the Titanic
Bitcoin|blockchain|the stock market today|cloud computing|a neural network|Kubernetes|Python code|the Linux kernel|a web server
quantum chromodynamics|string theory|dark matter|the Higgs boson|superconductivity|general relativity|thermodynamics
Star Wars|the Lord of the Rings|Harry Potter|Sherlock Holmes|Batman|a jazz festival|the Olympic Games|the Nobel Prize
the Amazon river|the Alps|the Sahara|Antarctica|the Pacific Ocean|New York|London|Berlin tonight|Hong Kong|Silicon Valley
a mortgage|a tax return|a pension plan|contract law|divorce law|a patent|an insurance claim|a visa application
a migraine|diabetes|a broken arm|insomnia|high blood pressure|yoga|meditation|a marathon plan|the keto diet
a wedding speech|a birthday poem|a love letter|a haiku|a rap song|a crossword|a riddle|a detective novel|an essay about war
a dishwasher|a 3D printer|an electric car|a solar panel|a heat pump|a drone|a smart watch|a submarine|a space station
Buddhism|Stoicism|existentialism|the trolley problem|the meaning of life|free will|the soul|karma|utilitarianism
a dinosaur|a unicorn|a dragon|the Loch Ness monster|a mammoth|a dodo|plankton|a fungus|moss|an orchid|a cactus|a redwood
the weather tomorrow|the news today|my neighbor|your favorite color|the lottery numbers|the time in Tokyo|my horoscope
knit a sweater|fly a plane|build a house|tune an engine|brew beer|tame a falcon|write a novel|win an election|repair a roof
install a server|solve a cubic equation|restore a painting|code a game|sell a house|file for divorce|climb Everest
ceramics|calligraphy|origami|graffiti|opera|ballet|sculpture|film noir|cubism|heraldry|philately|numismatics|etymology
a quasar|a comet|Jupiter|Saturn|Pluto|the Milky Way|a supernova|a wormhole|an exoplanet|the Kuiper belt|the Big Bang
polymer chemistry|organic farming|game theory|set theory|topology|linear algebra|calculus|a matrix
Queen Victoria|Nelson Mandela|Charlie Chaplin|Beethoven|Galileo|Aristotle|Confucius|Joan of Arc|Amelia Earhart|Van Gogh
a cruise ship|a hovercraft|the metro|a tram line|a hot air balloon|a jet engine|a lighthouse|the Suez Canal|a skyscraper
a spreadsheet formula|a podcast|a video game|a chat bot|social media|cyber security|a firewall|augmented reality
the Great Fire|the gold rush|feudalism|the Magna Carta|the Vikings|the Aztecs|samurai|pirates|the plague|the Crusades
a tariff|a hedge fund|venture capital|a monopoly|a recession|a trade union|marketing|a supply chain|an invoice
a kidney|the liver|the heart|a muscle|hormones|an allergy|a transplant|a fever|first aid|dental care|a sleep cycle
Mars|a laser|a magnet school|a tsunami|a geyser|a peninsula|a fjord|a sand dune|acid rain|an ice age|a coral reef
Frida Kahlo|Einstein|Darwin|Elvis|Homer|Plato|Nikola Tesla|Ada Lovelace|Alan Turing|Florence Nightingale
the Berlin Wall|the Pony Express|the Inquisition|the Ottoman Empire|a guillotine|alchemy|astrology|a catapult
a wind turbine|a pacemaker|a barcode|a hologram|a parachute|a periscope|a typewriter|a vending machine|an escalator
bake a wedding cake|forge a sword|train for the navy|lay bricks|tan leather|design a logo|fix a laptop screen"""

_ALL = [thing for line in _THINGS.split("\n") for thing in line.split("|")]
UNKNOWNS: tuple[str, ...] = tuple(_ALL[:-40])
HELD_OUT_UNKNOWNS: tuple[str, ...] = tuple(_ALL[-40:])

_SYLLABLES = """
ba be bi bo bu da de di do fa fe fi fo ga go gu ha he hi ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe
pi po ra re ri ro sa se si so ta te ti to va ve vi vo wa we wi xa xe xi za ze zo zu qua plo tri ex on ar ith cas
flu bran stel mor dun gri fen hol jas kel lum nar ost pel rud sil tam urs ven wyn yar zeb
""".split()


def pseudo_word(rng: random.Random, low: int = 2, high: int = 4) -> str:
    """Join `low` to `high` random syllables to a word nobody has seen."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(low, high)))


def unknown_name(rng: random.Random) -> str:
    """A thing outside the world: one of the listed ones, or one or two pseudo-words, in various cases."""
    if rng.random() < 0.6:
        return rng.choice(UNKNOWNS)
    name = " ".join(pseudo_word(rng) for _ in range(rng.choice((1, 1, 2))))
    if rng.random() < 0.5:
        name = name.title()
    return rng.choice(("", "", "the ", "a ")) + name
