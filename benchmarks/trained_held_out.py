"""Held-out data of the tasks of benchmarks/trained.py: of the same kinds, and other than all that choices were made on.

What calibration may lose (src/engineworks/calibration/energy.py) was chosen on the data that the tasks score, so a
score there says little about other data. Nothing is to be chosen on this data: a rule that fails here gets a better
reason, and then other held-out data. Networks are calibrated as ever.
"""

from __future__ import annotations

from types import MappingProxyType

_PAIRS = """
How can I keep tomatoes from splitting on the vine? | \
Water the plants evenly, since dry spells followed by rain crack the skin.
Who painted the ceiling of the Sistine Chapel? | Michelangelo worked on those frescoes in the Vatican for four years.
What is the difference between a frog and a toad? | \
Toads have dry, warty skin and short legs; their cousins are smooth and leap far.
Why does my car make a squealing noise when I brake? | Worn pads scrape against the disc and ought to be replaced soon.
How many bones does an adult human have? | The grown skeleton consists of two hundred and six of them.
What should I do if I lose my passport while travelling? | \
Report it to the police and ask your embassy for a temporary document.
How does a refrigerator stay cold? | A liquid evaporates in its coils and carries the heat to the back of the appliance.
When was the Berlin Wall torn down? | Crowds opened the border between East and West Germany in November 1989.
Is it safe to eat raw mushrooms from the forest? | \
Many wild fungi are poisonous, so only pick those an expert has identified.
How do airplanes stay in the air? | Flowing over the wings, air is pushed downwards and lifts the aircraft.
What is the tallest mountain on Earth? | Everest rises almost nine kilometres above the sea.
How do I remove a virus from my laptop? | Disconnect it from the internet and scan it with security software.
Why do we yawn? | Nobody is sure; opening the mouth wide may cool the brain or keep us alert.
What are the rules of chess for castling? | \
King and rook move together, provided neither has moved and no square between is attacked.
How do you make espresso at home? | Force hot water under pressure through finely ground, tightly packed coffee.
Which language has the most native speakers? | \
Mandarin Chinese is the mother tongue of more than nine hundred million people.
How long does it take for a broken arm to heal? | A fractured limb usually needs six to eight weeks in a cast.
What is the greenhouse effect? | Gases such as carbon dioxide trap the warmth that the ground radiates.
How do I get rid of ants in the kitchen? | Wipe away crumbs, seal the cracks and set out bait for the insects.
What does a judge do in a trial? | She directs the proceedings, interprets the law and passes sentence.
Why is the ocean salty? | Rivers wash minerals out of rocks and carry them to the sea, where they collect.
How can I improve my memory? | Repeat new facts at growing intervals and link them to images you know.
What is the fastest land animal? | A cheetah sprints at more than a hundred kilometres per hour.
How do I open a bank account for my child? | Bring the birth certificate and your own identity card to the branch.
Who discovered penicillin? | Alexander Fleming noticed mould killing bacteria in a dish in 1928.
What should I feed a baby hedgehog? | Give it wet cat food and water; cow's milk makes it ill.
How does a bill become law? | Parliament debates and votes on it, and then the head of state signs.
Why do onions make me cry? | When cut they release a sulphur gas that irritates the eyes.
How do I reset my router? | Press the small button at the back for ten seconds until the lights blink.
What is a black hole? | A collapsed star whose gravity is so strong that light cannot escape.
How much water should I drink in a day? | Around two litres are enough for most adults, more when it is hot.
What is the best time to plant tulips? | Put the bulbs into the soil in late autumn, before the first hard frost.
"""
PAIRS = MappingProxyType(dict(line.split(" | ") for line in _PAIRS.strip().splitlines()))
"""Questions and their answers: MiniLM."""

PICTURES = ("brick.png", "cell.png", "grass.png", "gravel.png", "ihc.png", "moon.png", "page.png", "text.png")
"""Photographs of scikit-image that EfficientNet-Lite0 is neither calibrated nor scored with."""
CROPS, CROP_SEED = 24, 11
"""Of each photograph, also of those with other crops that are scored; the seed of where they lie."""

PAGES = (
    (
        26,
        30,
        245,
        (
            "Minutes of the meeting, 14 May",
            "Present: Lind, Barros, Achebe",
            "1. The roof will be repaired",
            "2. No other business",
        ),
    ),
    (40, 0, 255, ("Gate 27 closes at 06:40", "Passengers to Oslo", "Row 31, seat F")),
    (
        28,
        235,
        20,
        (
            "Battery 83 %, charging",
            "Last backup: yesterday 22:15",
            "4 new messages from Helena",
            "Update to version 6.1.3",
        ),
    ),
    (
        26,
        0,
        230,
        (
            "The owl sat quietly in the old oak",
            "waiting for the moon to rise",
            "while mice ran through dry leaves",
            "and the wind turned north.",
        ),
    ),
    (40, 60, 255, ("SALE: 40% off shoes", "Monday to Thursday", "Size 36 to 47")),
    (
        27,
        0,
        255,
        (
            "Dosage: 2 tablets, 3 times daily",
            "Keep away from children",
            "Best before 09/2028",
            "Lot KX-7719-B",
        ),
    ),
    (36, 15, 200, ("Robert J. Whitfield", "19 Harbour Street", "Newport QZ4 8VW")),
    (
        28,
        250,
        60,
        (
            "Section 12: voltage drop in cables",
            "is proportional to their length",
            "and to the current (see Table 5)",
            "but not to the frequency.",
        ),
    ),
)
"""Font size in pixels, grey of ink and of paper, and lines: PP-OCR."""

PACKAGES = ("numpy", "onnx", "skimage", "onnxruntime", "torch", "PIL")
FILES = 6
"""Of each suffix in each package: magika."""
FILE_SIZES = (64, 2_000_000)
"""The smallest and the largest, in bytes."""
