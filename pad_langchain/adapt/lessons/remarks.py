"""What users say of themselves that is no wish of style: a head learns to read it as no pole, and is steered by none.

Without them a reader of wishes finds a pole in everything, and "I live in Rome" steers like one.
"""

from __future__ import annotations

__all__ = ["REMARKS"]

_SAID = """
I live in {Lisbon|a small village|Chicago|the north of Norway|a flat by the river|Nairobi}
I am from {Poland|Texas|Kerala|the countryside|Osaka}
we moved to {Madrid|another house|the coast|Toronto} {last year|in spring}
my name is {Peter|Aisha|Mei|Carlos|Ingrid}
call me {Captain|Sam|Mrs. Novak|by my first name|Professor Ito}
I am {19|thirty-four|in my fifties|almost seventy} years old
I was born in {1985|winter|a hospital ship|Vienna}
I work as {a plumber|an accountant|a bus driver|a kindergarten teacher|a surgeon|a farmer|a cook}
I work {from home|in a factory|for the city|part-time|on an oil rig|at night}
I am {retired|self-employed|looking for a job|on parental leave|a student|between jobs}
I study {biology|history|engineering|music at a conservatory|medicine in my third year}
I am learning {Spanish|to sail|the guitar|to code|Korean}
I speak {Turkish at home|three languages|only a little German|Arabic}
I have {a dog|a parrot|three children|no siblings|a big garden|an old bicycle|two brothers}
my {son|daughter|niece} {is five|starts school soon|plays the cello|likes dinosaurs|has a cold}
my {wife|husband|partner} is {a nurse|from Brazil|a vegetarian|away this week}
my {mother|father|grandfather} {lives next door|was a sailor|turns eighty|is in hospital}
I don't eat {meat|pork|gluten|anything with milk|after six}
I am {vegan|lactose intolerant|diabetic|kosher|fasting this month}
I am allergic to {cats|strawberries|penicillin|dust|shellfish}
I can't stand {coriander|olives|the heat|crowds}
I like {jazz|hiking|old films|strong tea|the sea|football|crosswords|painting}
I love {sushi|gardening|rainy days|my neighbourhood|travelling by train}
I hate {Mondays|traffic|mushrooms|flying|cold weather}
my favourite {colour is blue|band is from Manchester|season is autumn|dish is lasagna|book is Middlemarch}
I drive {an electric car|a van|to work|a motorbike}
I own {a boat|a bakery|a telescope|some land}
I play {chess|the drums|in a band|volleyball on Tuesdays|video games}
I collect {coins|vinyl records|shells|postcards}
I am training for {a triathlon|my first ten kilometres|a swimming contest|a climbing trip}
I go to {the gym twice a week|church|bed early|the market on Saturdays}
I get up at {five|noon on weekends|half past six}
I have {a headache|back pain|an exam tomorrow|a job interview on Friday|a flight to catch|a broken wrist}
I am {tired today|left-handed|colour-blind|afraid of heights|pregnant|new in town|deaf in one ear|in love}
I live with {my sister|three flatmates|my parents|a cat and a hamster}
my birthday is {in June|tomorrow|on the second of October}
the {meeting|party|concert|exam} is {at nine|on Thursday|next month|in the town hall}
my {car|phone|washing machine|laptop|heating} {broke down|is new|makes a strange noise|was stolen}
I {voted yesterday|gave up smoking|sold my house|lost my keys|passed my driving test|adopted a puppy|ran out of milk}
I read {the paper every morning|your answer on the bus|mostly novels|it yesterday}
I want to {visit Peru|lose five kilos|buy a house|learn to swim|change jobs|start a company}
I am planning {a wedding|a trip to Iceland|my vegetable beds|a surprise for my brother}
remind me to {call the dentist|water the plants|pay the rent|buy bread}
my budget is {two hundred euros|small this month|about a thousand dollars}
I use {Linux|a Mac|an Android phone|Excel at work|a wheelchair}
my {team|class|company} has {twelve people|a new boss|moved offices|won a prize}
{thank you|that helped|you were right about the oven|good morning|what a lovely day|see you tomorrow|I will try that}
{it is raining here|the train was late|dinner was great|my team lost|the children are asleep|we are on holiday}
I believe in {God|karma|ghosts|science}
I support {Arsenal|the local team|a charity for refugees|public transport}
my doctor told me to {rest|drink more water|avoid salt|walk every day}
I used to be {a teacher|very shy|a smoker|in the army}
I never {learned to swim|drink alcohol|went to college|watch television}
I always {forget names|take the stairs|carry a notebook|buy second-hand clothes}
there is {a spider in the bath|a fair this weekend|no milk left|a hole in my roof|a new cinema|snow on the hills}
there are {too many tourists|foxes in the park|two letters for you|no seats left}
somebody {left the gate open|phoned at midnight|ate my sandwich|painted the fence}
nobody {came to the party|answers the door|knows my name here|has seen the cat}
everyone {at work is ill|went home early|laughed at the mayor|likes the new bridge}
we {saw a whale|had soup for supper|missed the ferry|painted the kitchen|camped by a lake|argued about money}
I was {at the museum|stung by a bee|late again|in a car accident|alone all day|on the radio once}
I just {woke up|came home from work|heard the news|finished my essay|burned my hand|met an old friend}
I saw {a fox|your sister in town|a film about bees|smoke over the hills}
I found {a ring|a wallet on the bench|mould in the cellar|my old diary}
I fell {off a ladder|asleep on the sofa|in the snow}
it is {my turn tonight|dark outside|her last day|a long way to the station|my first winter here|too far to walk}
it was {closed on Monday|a gift from my aunt|colder last year|nobody's fault}
the {cat|neighbour|baby|roof|oven} {is asleep|shouts a lot|has a fever|leaks|smells of smoke}
the {shop|river|school|bridge} {near us is closed|floods every spring|was built by monks|needs a new roof}
my {knee|tooth|ear|foot} {hurts|itches in the cold|was operated on}
our {landlord|choir|dog|teacher} {raised the rent|meets on Mondays|barks at night|comes from Wales}
{dinner|the film|the flight|my shift} {starts at seven|was cancelled|lasts two hours}
she {told me about the fire|is moving out|bakes bread|forgot her umbrella}
he {called me yesterday|wants a refund|fixes bicycles|never told me why}
they {sold the farm|are getting married|live upstairs|play cards on Fridays}
yesterday {I swam in the sea|the power went out|my parcel arrived}
last {summer we rented a boat|night I dreamt of snow|week the heating failed}
"""


def _written_out(template: str) -> list[str]:
    """Every way to read a template; where it has several gaps, each gap's fillings are gone through side by side."""
    parts = template.replace("}", "{").split("{")
    gaps = [part.split("|") for part in parts[1::2]]
    many = max(map(len, gaps))
    texts = []
    for n in range(many):
        fillings = [gap[n % len(gap)] for gap in gaps]
        texts.append("".join(part for pair in zip(parts[::2], [*fillings, ""], strict=True) for part in pair))
    return texts


REMARKS: tuple[str, ...] = tuple(
    dict.fromkeys(text for line in _SAID.strip().splitlines() for text in _written_out(line))
)
