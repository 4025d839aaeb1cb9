"""The facts the demo model knows: rows of short cells, one tuple of rows for each domain.

Every name occurs in one domain only. Names and cells have no article where the sentence around them brings its own.
"""
# ruff: noqa: E501  (a fact is one line, so that it can be checked at a glance)

from __future__ import annotations

__all__ = ["ANIMALS", "CONCEPTS", "COUNTRIES", "ELEMENTS", "FOODS", "HOWTO", "INSTRUMENTS", "JOBS", "SPORTS", "rows"]


def rows(text: str) -> tuple[tuple[str, ...], ...]:
    """Parse lines of cells parted by `|`; the first line sets the number of columns.

    Raises:
        ValueError: a line has another number of cells, or an empty one.
    """
    table = tuple(tuple(cell.strip() for cell in line.split("|")) for line in text.strip().splitlines())
    for row in table:
        if len(row) != len(table[0]) or not all(row):
            raise ValueError(f"a row needs {len(table[0])} cells with text in each, but this has {len(row)}: {row!r}")
    return table


# name | capital | continent | main language | dish | landmark
COUNTRIES = rows(
    """
France|Paris|Europe|French|onion soup|the Eiffel Tower
Italy|Rome|Europe|Italian|pizza|the Colosseum
Spain|Madrid|Europe|Spanish|paella|the Sagrada Familia
Portugal|Lisbon|Europe|Portuguese|salted cod|the Belem Tower
Germany|Berlin|Europe|German|bratwurst|the Brandenburg Gate
Austria|Vienna|Europe|German|schnitzel|Schonbrunn Palace
Greece|Athens|Europe|Greek|moussaka|the Parthenon
Poland|Warsaw|Europe|Polish|pierogi|Wawel Castle
Hungary|Budapest|Europe|Hungarian|goulash|the Chain Bridge
Norway|Oslo|Europe|Norwegian|smoked salmon|the Geiranger fjord
Sweden|Stockholm|Europe|Swedish|meatballs|the Vasa Museum
Finland|Helsinki|Europe|Finnish|rye bread|the fortress of Suomenlinna
Denmark|Copenhagen|Europe|Danish|open sandwiches|the Little Mermaid statue
Ireland|Dublin|Europe|English|Irish stew|the Cliffs of Moher
Iceland|Reykjavik|Europe|Icelandic|lamb soup|the Gullfoss waterfall
Belgium|Brussels|Europe|Dutch|waffles|the Atomium
Croatia|Zagreb|Europe|Croatian|black risotto|the walls of Dubrovnik
Japan|Tokyo|Asia|Japanese|sushi|Mount Fuji
China|Beijing|Asia|Mandarin|dumplings|the Great Wall
India|New Delhi|Asia|Hindi|curry|the Taj Mahal
Thailand|Bangkok|Asia|Thai|pad thai|the Grand Palace
Vietnam|Hanoi|Asia|Vietnamese|noodle soup|Ha Long Bay
Indonesia|Jakarta|Asia|Indonesian|fried rice|the Borobudur temple
Nepal|Kathmandu|Asia|Nepali|lentil soup|Mount Everest
Mongolia|Ulaanbaatar|Asia|Mongolian|mutton dumplings|the Gobi desert
Turkey|Ankara|Asia|Turkish|kebab|the Hagia Sophia
Jordan|Amman|Asia|Arabic|mansaf|the city of Petra
Cambodia|Phnom Penh|Asia|Khmer|fish curry|Angkor Wat
Egypt|Cairo|Africa|Arabic|koshari|the pyramids of Giza
Morocco|Rabat|Africa|Arabic|tagine|the old town of Fez
Kenya|Nairobi|Africa|Swahili|maize porridge|the Masai Mara
Ethiopia|Addis Ababa|Africa|Amharic|injera|the churches of Lalibela
Ghana|Accra|Africa|English|jollof rice|Cape Coast Castle
Senegal|Dakar|Africa|French|fish with rice|Goree Island
Tunisia|Tunis|Africa|Arabic|couscous|the ruins of Carthage
Canada|Ottawa|North America|English|poutine|Niagara Falls
Mexico|Mexico City|North America|Spanish|tacos|the pyramid of Chichen Itza
Cuba|Havana|North America|Spanish|rice and beans|Old Havana
Panama|Panama City|North America|Spanish|chicken stew|the Panama Canal
Jamaica|Kingston|North America|English|jerk chicken|Dunn's River Falls
Brazil|Brasilia|South America|Portuguese|feijoada|the statue of Christ the Redeemer
Argentina|Buenos Aires|South America|Spanish|grilled beef|the Iguazu Falls
Peru|Lima|South America|Spanish|ceviche|Machu Picchu
Chile|Santiago|South America|Spanish|corn pie|the Atacama desert
Colombia|Bogota|South America|Spanish|arepas|the old town of Cartagena
Ecuador|Quito|South America|Spanish|potato soup|the Galapagos Islands
Australia|Canberra|Oceania|English|meat pie|the Sydney Opera House
New Zealand|Wellington|Oceania|English|roast lamb|Milford Sound
Fiji|Suva|Oceania|English|raw fish in coconut milk|the Coral Coast
Samoa|Apia|Oceania|Samoan|taro leaves in coconut cream|the To Sua trench
"""
)

# name | symbol | atomic number | use | category | where it is found
ELEMENTS = rows(
    """
hydrogen|H|1|rocket fuel|nonmetal|water
helium|He|2|balloons|noble gas|natural gas wells
lithium|Li|3|batteries|alkali metal|salt lakes
carbon|C|6|steel|nonmetal|coal
nitrogen|N|7|fertilizer|nonmetal|the air
oxygen|O|8|breathing masks|nonmetal|the air
fluorine|F|9|toothpaste|halogen|the mineral fluorite
neon|Ne|10|bright signs|noble gas|the air
sodium|Na|11|street lamps|alkali metal|table salt
magnesium|Mg|12|light alloys|alkaline earth metal|sea water
aluminium|Al|13|cans and planes|post-transition metal|bauxite
silicon|Si|14|computer chips|metalloid|sand
phosphorus|P|15|matches|nonmetal|bones
sulfur|S|16|rubber|nonmetal|volcanic areas
chlorine|Cl|17|clean pools|halogen|rock salt
argon|Ar|18|welding|noble gas|the air
potassium|K|19|plant food|alkali metal|bananas
calcium|Ca|20|cement|alkaline earth metal|milk and chalk
titanium|Ti|22|artificial joints|transition metal|beach sand
chromium|Cr|24|shiny coatings|transition metal|chromite
iron|Fe|26|buildings and bridges|transition metal|red rocks
cobalt|Co|27|blue glass|transition metal|copper mines
nickel|Ni|28|coins|transition metal|meteorites
copper|Cu|29|electric wires|transition metal|green ores
zinc|Zn|30|rust protection|transition metal|the mineral sphalerite
bromine|Br|35|flame retardants|halogen|salt brine
krypton|Kr|36|camera flashes|noble gas|the air
silver|Ag|47|mirrors|transition metal|lead ores
tin|Sn|50|solder|post-transition metal|cassiterite
iodine|I|53|wound cleaning|halogen|seaweed
tungsten|W|74|drill bits|transition metal|wolframite
platinum|Pt|78|catalytic converters|transition metal|river gravel
gold|Au|79|jewelry|transition metal|quartz veins
mercury|Hg|80|old thermometers|transition metal|cinnabar
lead|Pb|82|car batteries|post-transition metal|galena
uranium|U|92|nuclear power|actinide|pitchblende
"""
)

# name | class | diet | habitat | feature | name of the young
ANIMALS = rows(
    """
lion|mammal|meat|savannas|a loud roar|cub
tiger|mammal|meat|forests|orange stripes|cub
elephant|mammal|plants|grasslands|a long trunk|calf
giraffe|mammal|leaves|savannas|a very long neck|calf
zebra|mammal|grass|plains|black and white stripes|foal
kangaroo|mammal|grass|dry plains|a pouch|joey
koala|mammal|eucalyptus leaves|eucalyptus forests|long hours of sleep|joey
panda|mammal|bamboo|mountain forests|black eye patches|cub
wolf|mammal|meat|forests|life in packs|pup
fox|mammal|small animals|woodlands|a bushy tail|kit
bear|mammal|fish and berries|forests|winter sleep|cub
beaver|mammal|bark|rivers|building dams|kit
otter|mammal|fish|rivers|webbed feet|pup
bat|mammal|insects|caves|hunting by echo|pup
dolphin|mammal|fish|oceans|clever play|calf
whale|mammal|krill|oceans|a huge body|calf
seal|mammal|fish|cold coasts|thick blubber|pup
camel|mammal|desert plants|deserts|a fatty hump|calf
horse|mammal|grass|grasslands|great speed|foal
hedgehog|mammal|insects|gardens|sharp spines|hoglet
squirrel|mammal|nuts|trees|storing food|kit
gorilla|mammal|leaves|rainforests|great strength|infant
sloth|mammal|leaves|rainforests|very slow moves|pup
moose|mammal|water plants|northern forests|wide antlers|calf
eagle|bird|fish|cliffs|sharp eyesight|eaglet
owl|bird|mice|woodlands|silent flight|owlet
penguin|bird|fish|icy coasts|swimming with its wings|chick
ostrich|bird|plants|savannas|fast running|chick
parrot|bird|seeds|rainforests|copying sounds|chick
flamingo|bird|shrimp|shallow lakes|pink feathers|chick
hummingbird|bird|nectar|gardens|hovering in the air|chick
swan|bird|water plants|lakes|a curved neck|cygnet
crow|bird|almost anything|towns|solving puzzles|chick
pelican|bird|fish|coasts|a stretchy throat pouch|chick
crocodile|reptile|meat|rivers|powerful jaws|hatchling
turtle|reptile|sea plants|oceans|a hard shell|hatchling
chameleon|reptile|insects|forests|changing color|hatchling
gecko|reptile|insects|warm regions|climbing walls|hatchling
cobra|reptile|small animals|fields|a wide hood|hatchling
iguana|reptile|leaves|tropical forests|a spiny back|hatchling
frog|amphibian|insects|ponds|strong jumping legs|tadpole
salamander|amphibian|worms|damp woods|regrowing its tail|larva
shark|fish|fish and seals|oceans|many rows of teeth|pup
salmon|fish|insects and small fish|rivers and seas|returning to its birthplace|fry
seahorse|fish|plankton|seagrass beds|swimming upright|fry
tuna|fish|smaller fish|open oceans|fast swimming|larva
octopus|mollusk|crabs|reefs|eight clever arms|larva
squid|mollusk|fish|deep seas|clouds of ink|larva
honeybee|insect|nectar and pollen|meadows|dancing to share news|larva
butterfly|insect|nectar|meadows|colorful wings|caterpillar
ant|insect|seeds|soil|carrying heavy loads|larva
dragonfly|insect|mosquitoes|ponds|four clear wings|nymph
"""
)

# name | simple definition | technical definition | example | second example | why it matters
CONCEPTS = rows(
    """
gravity|a pull between things that have mass|an attractive force between masses, proportional to their product and inversely to the squared distance|an apple falls to the ground|the moon stays near the earth|it keeps planets on their paths
photosynthesis|how plants make food from light|the conversion of light energy into chemical energy by chloroplasts|a leaf makes sugar in the sun|grass grows in spring|it gives us oxygen
evaporation|when a liquid turns into gas|a phase transition from liquid to vapor below the boiling point|a puddle dries up|wet hair dries|it helps to make clouds
friction|a force that slows sliding things|a contact force opposing relative motion between surfaces|brakes stop a bike|hands get warm when rubbed|it lets us walk without slipping
magnetism|a force that pulls some metals|a field phenomenon arising from moving electric charges|a note sticks to the fridge|a compass points north|it makes motors turn
electricity|the flow of tiny charges|the transport of electrons through a conductor under a voltage|a lamp lights up|a phone charges|it powers our homes
inflation|when prices go up over time|a sustained increase of the aggregate price level|bread costs more than last year|rent goes up|it changes what money can buy
interest|the price of borrowing money|a periodic percentage charge on the outstanding principal|a bank pays you for savings|a loan costs extra|it rewards people who save
supply and demand|how buyers and sellers set prices|the market equilibrium between quantity supplied and quantity demanded|umbrellas cost more in the rain|fruit is cheap at harvest|it guides what shops sell
democracy|a system where people vote|a political system founded on electoral representation|people choose a mayor|a class elects a speaker|it gives everyone a voice
recursion|solving a thing with smaller copies of it|a procedure that invokes itself on a reduced subproblem|a box inside a box|a folder inside a folder|it makes some programs short
an algorithm|a clear list of steps|a finite sequence of well-defined operations|a recipe for soup|sorting cards by number|it lets computers solve problems
a database|a place to keep data in order|a structured persistent store with query operations|a shop keeps its orders|a library lists its books|it makes data easy to find
encryption|hiding a message with a secret key|the transformation of plaintext into ciphertext with a cryptographic key|a chat app hides your words|a bank protects a payment|it keeps secrets safe
a compiler|a program that translates code|a translator from source language to machine instructions|code becomes an app|a script becomes a fast tool|it helps machines read our ideas
machine learning|teaching computers with examples|the statistical optimization of model parameters on data|a filter finds junk mail|a phone knows a face|it finds patterns for us
a vaccine|a way to train the body against illness|a preparation that induces adaptive immunity to an antigen|a shot against measles|a flu jab in autumn|it stops outbreaks
a virus|a tiny thing that copies itself in cells|an obligate intracellular agent with a nucleic acid genome|the cause of the common cold|the cause of the flu|knowing it helps us stay healthy
DNA|the recipe book inside living cells|a double helix polymer encoding hereditary information|children look like parents|a pea plant passes on its color|it tells cells what to build
evolution|slow change of living things over time|a change of allele frequencies across generations under selection|birds get beaks that fit their food|moths become darker|it explains the variety of life
an ecosystem|living things and their home together|a community of organisms interacting with the abiotic environment|a pond with frogs|a forest with deer|it keeps nature in balance
a volcano|a mountain that can throw out hot rock|a vent through which magma and gas reach the surface|Mount Etna in Italy|Mauna Loa in Hawaii|it builds new land
an earthquake|when the ground shakes|a sudden release of seismic energy along a fault|a cup rattles on the shelf|a wall cracks|knowing it helps us build safe houses
a rainbow|a band of colors in the sky|a spectrum produced by refraction and dispersion in droplets|colors after a shower|colors in a garden hose spray|it shows that light has many colors
the tide|the rise and fall of the sea|a periodic variation of sea level driven by lunar gravitation|a beach is wider at low water|boats rest on mud|it matters for fishing and ships
an eclipse|when one body in the sky hides another|the obscuration of a celestial body by the shadow of another|the moon covers the sun|the moon turns red|it helped people study the sky
a black hole|a place where nothing can get out|a spacetime region whose escape velocity exceeds light speed|the center of our galaxy|the end of a giant star|it tests our ideas of space
a star|a hot ball of glowing gas|a luminous plasma sphere sustained by nuclear fusion|our sun|the north star|it gives light and heat
a fraction|a part of a whole|a rational number expressed as a quotient of integers|half of a cake|a quarter of an hour|it helps us share fairly
probability|how likely a thing is|a normalized measure on a space of events|a coin lands on heads|a die shows six|it helps us plan for luck
an average|a middle value of many numbers|the arithmetic mean of a finite sample|the usual score in a class|the normal rainfall in May|it sums up many numbers
a triangle|a shape with three sides|a polygon with three vertices and an angle sum of 180 degrees|a slice of pizza|a road sign|it makes bridges strong
a prime number|a number with just two divisors|an integer greater than one with no nontrivial factors|the number seven|the number thirteen|it protects secret codes
a metaphor|calling one thing another to paint a picture|a figurative mapping between two semantic domains|time is a thief|the world is a stage|it makes words lively
a budget|a plan for your money|a structured allocation of projected income and expenditure|money for rent and food|saving for a trip|it keeps you out of debt
insurance|paying a little to be safe from big costs|a contractual transfer of risk in exchange for a premium|a car repair is paid|a broken window is paid|it protects families from bad luck
a habit|a thing you do without thinking|an automatic behavior triggered by contextual cues|brushing your teeth|tea after lunch|it saves the brain some work
memory|how we keep what we learn|the encoding, storage and retrieval of information|knowing a song by heart|finding the way home|it lets us learn from the past
sleep|a time of rest for body and brain|a reversible state of reduced consciousness with cyclic stages|a night in bed|a nap on the sofa|it repairs the body
stress|the strain we feel under pressure|a physiological response mediated by cortisol|a test tomorrow|a late train|knowing it helps us relax
a balanced diet|eating many kinds of good food|an intake with adequate macronutrient and micronutrient proportions|fruit with breakfast|beans and rice|it keeps the body strong
recycling|turning waste into new things|the recovery and reprocessing of material streams|bottles become new bottles|paper becomes boxes|it saves energy and trees
solar power|making power from the sun|the photovoltaic conversion of irradiance to current|panels on a roof|a small garden lamp|it makes clean energy
wind power|making power from the wind|the conversion of kinetic air flow by turbines|a windmill on a hill|turbines at sea|it makes clean energy
climate change|the slow change of weather over years|a long-term shift of mean atmospheric conditions|hotter summers|melting ice|it affects farms and cities
the water cycle|how water moves around the earth|the continuous circulation of water through evaporation and precipitation|rain fills a lake|snow melts in spring|it gives us fresh water
a battery|a box that stores power|an electrochemical cell storing energy as chemical potential|a torch works at night|a toy car drives|it lets us carry power
a lever|a bar that helps to lift things|a rigid beam that amplifies force about a fulcrum|a seesaw|a bottle opener|it makes hard work easy
the internet|a net that joins computers|a global system of networks exchanging packets via protocols|sending an email|watching a film at home|it links people
a contract|a promise that the law protects|a legally binding agreement with mutual consideration|renting a flat|buying a car|it makes deals clear
"""
)

# task | first step | second step | third step | last step | caution | technical tip
HOWTO = rows(
    """
make tea|boil fresh water|put a tea bag in a cup|pour the water on it|wait three minutes|hot water can burn you|water temperature near 95 degrees optimizes extraction
make coffee|grind the beans|heat the water|pour the water slowly|let it drip|hot water can burn you|a brew ratio of one to sixteen optimizes extraction
boil an egg|put the egg in a pot|cover it with water|boil it for eight minutes|cool it in cold water|steam can burn your hand|protein coagulation occurs near 65 degrees
bake bread|mix flour, water and yeast|knead the dough|let it rise for an hour|bake it until golden|the oven is very hot|yeast fermentation generates carbon dioxide
cook rice|rinse the rice|add twice as much water|simmer it with a lid on|let it rest|the pot gets very hot|starch gelatinization requires steady heat
make a salad|wash the vegetables|cut them into pieces|mix oil and vinegar|toss it all together|knives are sharp|an emulsion stabilizes the dressing
make pancakes|mix flour, eggs and milk|heat a little butter|pour in some batter|flip it when it bubbles|hot butter can splash|the Maillard reaction produces browning
change a tire|park on flat ground|loosen the nuts|lift the car with a jack|swap the wheel|never crawl under the car|nut torque must meet the specification
paint a wall|clean the wall|tape the edges|roll on the paint|let it dry|open a window for fresh air|surface adhesion depends on a primer
plant a tree|dig a wide hole|set the tree in it|fill in the soil|water it well|mind your back when digging|root aeration depends on soil porosity
grow tomatoes|plant the seeds in spring|give them plenty of sun|water the roots|tie the stems to a stick|leaves can upset your stomach|nitrogen levels regulate vegetative growth
train a dog|pick one command|show a treat|reward the right move|repeat it every day|never shout at the dog|operant conditioning relies on reinforcement
wash a car|rinse off the dust|use soap and a sponge|rinse it again|dry it with a cloth|soap can hurt the eyes|surfactants reduce surface tension
fix a bike tire|take off the wheel|find the hole|glue on a patch|pump it up|glue fumes can harm you|vulcanization bonds the patch
clean a window|wipe off the dust|spray some cleaner|wipe from top to bottom|dry it with paper|do not lean out too far|solvent evaporation prevents streaks
fold a shirt|lay it flat|fold in the sleeves|fold the sides|fold it in half|a hot iron can burn you|fiber orientation determines creases
write an email|write a clear subject|greet the reader|say what you need|sign your name|check the address first|address metadata determines routing
write a resume|list your jobs|add your schooling|show your skills|check the spelling|never share your bank number|keyword density affects automated screening
save money|write down your costs|set a goal|put some money aside|check it each month|watch out for scams|compound interest accelerates accumulation
learn a language|learn common words|listen every day|speak with people|review your notes|too much at once can tire you|spaced repetition optimizes retention
learn to swim|get used to the water|learn to float|kick with your legs|add the arms|never swim alone|hydrodynamic drag depends on body position
start running|get good shoes|warm up first|run slowly|rest between days|stop if your chest hurts|aerobic capacity adapts to progressive load
meditate|sit in a quiet place|close your eyes|follow your breath|come back when you drift|stop if you feel dizzy|parasympathetic activation reduces heart rate
study for a test|make a plan|read your notes|test yourself|sleep well|too little sleep can harm you|active recall optimizes retention
take a photo|find good light|hold the camera still|focus on the subject|press the button|do not look into the sun|aperture determines depth of field
build a campfire|clear the ground|stack dry twigs|light the middle|add bigger wood|keep water close by|combustion requires fuel, heat and oxygen
pitch a tent|find flat ground|lay out the tent|push in the poles|tie the ropes|keep fire away from the tent|guy line tension distributes load
use a map|find north|find where you are|pick a path|check marks as you go|tell a friend your route|map scale determines ground distance
back up a computer|get a spare drive|pick your files|copy them over|test the copy|keep the drive in a safe place|incremental snapshots reduce redundancy
choose a password|use many letters|mix in numbers|avoid real names|use a new one for each site|never share it|entropy determines resistance to attack
knit a scarf|pick soft yarn|cast on some stitches|knit row by row|cast off the end|needles are pointed|gauge determines fabric density
make soap|weigh the oils|mix the lye with water|stir them together|pour it in a mold|lye can burn your skin|saponification converts triglycerides
"""
)

# name | family | how it sounds | genre | place | part
INSTRUMENTS = rows(
    """
piano|keyboard|hammers hit strings|classical music|concert halls|pedals
violin|string|a bow rubs the strings|orchestra music|concert halls|four strings
cello|string|a bow rubs the strings|chamber music|concert halls|a long endpin
guitar|string|fingers pluck the strings|rock music|campfires|six strings
harp|string|fingers pluck the strings|Celtic music|concert halls|many strings
banjo|string|fingers pluck the strings|country music|front porches|a round drum body
ukulele|string|fingers strum the strings|island music|beaches|four soft strings
flute|woodwind|air blows over a hole|folk music|parks|small keys
clarinet|woodwind|a reed vibrates|jazz music|jazz clubs|a single reed
oboe|woodwind|two reeds vibrate|orchestra music|concert halls|a double reed
saxophone|woodwind|a reed vibrates|jazz music|jazz clubs|a curved bell
bassoon|woodwind|two reeds vibrate|orchestra music|opera houses|a long wooden tube
trumpet|brass|lips buzz in a mouthpiece|jazz music|parades|three valves
trombone|brass|lips buzz in a mouthpiece|swing music|big bands|a long slide
tuba|brass|lips buzz in a mouthpiece|march music|parades|a wide bell
horn|brass|lips buzz in a mouthpiece|film music|orchestras|a coiled tube
drum|percussion|sticks hit a skin|rock music|stages|a tight skin
xylophone|percussion|mallets hit wooden bars|school music|classrooms|wooden bars
glockenspiel|percussion|mallets hit metal bars|orchestra music|orchestras|small steel bars
tambourine|percussion|a hand shakes small cymbals|folk music|street fairs|tiny cymbals
accordion|free reed|air moves past metal reeds|tango music|village dances|a bellows
harmonica|free reed|breath moves past metal reeds|blues music|street corners|ten small holes
organ|keyboard|air blows through pipes|church music|churches|many pipes
bagpipe|woodwind|a bag pushes air past reeds|Scottish music|the Highlands|a leather bag
"""
)

# name | origin | main ingredient | taste | how it is made | what it is eaten with
FOODS = rows(
    """
bread|the Middle East|flour|mild|baked in an oven|butter
cheese|the Middle East|milk|salty|aged in a cellar|crackers
chocolate|Mexico|cocoa beans|sweet|melted and cooled|coffee
yogurt|Central Asia|milk|sour|warmed with live cultures|fruit
hummus|the Levant|chickpeas|nutty|mashed with oil|flat bread
tofu|China|soybeans|mild|pressed into blocks|soy sauce
kimchi|Korea|cabbage|spicy|fermented in jars|rice
ramen|Japan|wheat noodles|savory|simmered in broth|a soft egg
pasta|Italy|durum wheat|mild|boiled in salted water|tomato sauce
risotto|Italy|short rice|creamy|stirred with broth|cheese
lasagna|Italy|pasta sheets|rich|baked in layers|a green salad
croissant|Austria|butter dough|buttery|folded and baked|jam
quiche|France|eggs|rich|baked in a crust|a green salad
falafel|Egypt|fava beans|crisp|fried in oil|sesame sauce
guacamole|Mexico|avocado|fresh|mashed with lime|corn chips
salsa|Mexico|tomatoes|spicy|chopped by hand|corn chips
gazpacho|Spain|tomatoes|fresh|blended and chilled|toast
borscht|Ukraine|beets|earthy|simmered slowly|sour cream
pretzel|Germany|flour|salty|dipped and baked|mustard
fondue|Switzerland|cheese|rich|melted in a pot|bread cubes
baklava|Turkey|nuts|sweet|baked in thin layers|tea
biryani|India|rice|spicy|steamed in layers|yogurt
samosa|South Asia|potatoes|spicy|fried in oil|mint sauce
tempeh|Indonesia|soybeans|nutty|fermented in leaves|peanut sauce
miso soup|Japan|soybean paste|savory|stirred into hot broth|rice
porridge|Scotland|oats|mild|cooked in milk|honey
chowder|New England|clams|creamy|simmered with milk|crackers
cornbread|the Americas|cornmeal|mild|baked in a pan|beans
maple syrup|Canada|maple sap|sweet|boiled down slowly|pancakes
honey|many parts of the world|flower nectar|sweet|gathered from hives|toast
"""
)

# name | how many play | equipment | where it is played | how points or wins come | skill needed | risk
SPORTS = rows(
    """
soccer|two teams of eleven players|a round ball|grass fields|kicking the ball into the goal|quick footwork|a hard tackle can hurt your ankle
basketball|two teams of five players|an orange ball|indoor courts|throwing the ball through the hoop|accurate shooting|a bad landing can twist your knee
volleyball|two teams of six players|a light ball|indoor courts|landing the ball on the other side|high jumping|a hard spike can jam your fingers
beach volleyball|two teams of two players|a soft ball|sand courts|landing the ball on the other side|good balance|hot sand can burn your feet
handball|two teams of seven players|a small ball|indoor courts|throwing the ball into the goal|strong throwing|a fast throw can hurt your face
baseball|two teams of nine players|a bat and a ball|diamond fields|running around the bases|sharp eyes|a fast pitch can hit your head
cricket|two teams of eleven players|a flat bat and a ball|oval fields|running between the wickets|patient batting|a hard ball can break a finger
rugby union|two teams of fifteen players|an oval ball|grass fields|carrying the ball over the line|great strength|a rough tackle can hurt your neck
American football|two teams of eleven players|an oval ball and helmets|marked fields|carrying the ball into the end zone|good teamwork|a hard hit can shake your brain
ice hockey|two teams of six players|sticks and a puck|ice rinks|hitting the puck into the goal|fast skating|a flying puck can break teeth
field hockey|two teams of eleven players|curved sticks and a ball|artificial turf|hitting the ball into the goal|close stick control|a swinging stick can hit your shin
water polo|two teams of seven players|a grippy ball|swimming pools|throwing the ball into the goal|strong swimming|tired players can swallow water
tennis|two or four players|a racket and a ball|clay or grass courts|hitting the ball out of reach|a strong serve|too much serving can strain your elbow
table tennis|two or four players|a small paddle and a light ball|table halls|making the other player miss|fast reflexes|sudden turns can strain your back
badminton|two or four players|a light racket and a shuttlecock|indoor courts|landing the shuttlecock on the other side|a loose wrist|quick lunges can pull a muscle
squash|two players|a racket and a rubber ball|walled courts|hitting the ball beyond reach|quick turns|a small ball can injure your eye
golf|one to four players|clubs and a small ball|golf courses|reaching the hole in few strokes|a smooth swing|a flying ball can hit someone
bowling|one player at a time|a heavy ball|bowling lanes|knocking down ten pins|a steady aim|a heavy ball can crush your toes
archery|one player at a time|a bow and arrows|shooting ranges|hitting the center of the target|calm hands|a stray arrow can hurt someone
fencing|two fencers|a thin blunt sword and a mask|long narrow strips|touching the opponent with the blade|fast thinking|a broken blade can cut you
boxing|two boxers|padded gloves|boxing rings|landing clean punches|quick defense|blows to the head can harm your brain
judo|two fighters|a thick cotton suit|mats|throwing the opponent on the back|good balance|a bad fall can hurt your shoulder
karate|two fighters|a white suit and a belt|mats|landing controlled strikes|precise timing|a badly judged kick can bruise you
wrestling|two wrestlers|tight suits and soft shoes|mats|pinning the opponent to the mat|a firm grip|a twisted arm can be hurt
gymnastics|one athlete at a time|bars, beams and rings|gyms|earning high marks from judges|flexible muscles|a fall from the bars can break bones
figure skating|one or two skaters|skates with toe picks|ice rinks|earning high marks from judges|graceful spins|a fall on ice can bruise your hip
speed skating|two or more skaters|long sharp skates|ice ovals|finishing in the fastest time|powerful legs|sharp blades can cut you
alpine skiing|one racer at a time|skis and poles|snowy slopes|finishing in the fastest time|fast turns|a crash can tear your knee
snowboarding|one rider at a time|a wide board|snowy slopes|racing or doing tricks|good balance|a backward fall can hurt your wrist
surfing|one rider on each wave|a surfboard|ocean waves|riding waves with style|reading the waves|strong currents can pull you away
rowing|one to eight rowers|oars and a narrow boat|lakes and rivers|crossing the finish line first|steady rhythm|cold water can weaken you fast
sailing|one or more sailors|a boat with sails|lakes and seas|rounding the marks and finishing first|reading the wind|a swinging boom can hit your head
road cycling|solo riders or teams|a light bicycle and a helmet|paved roads|crossing the finish line first|great stamina|a crash at speed can break bones
marathon running|thousands of runners|light running shoes|city streets|finishing in the fastest time|great endurance|heat and thirst can make you faint
high jump|one athlete at a time|a bar and a thick mat|athletics stadiums|clearing the highest bar|a springy takeoff|a bad landing can hurt your neck
pole vault|one athlete at a time|a long bendy pole|athletics stadiums|clearing the highest bar|speed and courage|a missed landing can hurt your back
rock climbing|one climber and a partner|ropes and a harness|cliffs and climbing walls|reaching the highest hold|strong fingers|a loose knot can let you fall
show jumping|one rider and a horse|a saddle and a helmet|riding arenas|clearing fences without faults|trust in the horse|a fall from a horse can injure you
curling|two teams of four players|heavy stones and brooms|ice sheets|sliding stones closest to the center|a gentle release|slippery ice can make you fall
darts|two players|small pointed darts and a board|pubs and halls|scoring down to exactly zero|a steady arm|a bouncing dart can hurt your foot
"""
)

# name | what they do | workplace | tool | training | quality needed | risk
JOBS = rows(
    """
nurse|care for sick people|hospitals|a stethoscope|a nursing degree|patience|long shifts can wear you out
doctor|find and treat illnesses|clinics|a blood pressure cuff|years of medical school|good judgment|sick patients can infect you
dentist|treat teeth and gums|dental practices|a small drill|a dental degree|steady hands|bending all day can hurt your back
veterinarian|treat sick animals|animal clinics|a thermometer|a veterinary degree|love of animals|a scared animal can bite you
pharmacist|hand out medicine and advice|pharmacies|a pill counter|a pharmacy degree|accuracy|a mixed-up pill can harm someone
teacher|help children learn|schools|a whiteboard|a teaching degree|patience|too much noise can strain your voice
librarian|help people find books|libraries|a catalog|a library science degree|order|heavy boxes of books can hurt your back
lawyer|advise people about the law|law offices|law books|a law degree|clear thinking|long hours can cause stress
judge|decide cases in court|courtrooms|a code of laws|a law degree and long practice|fairness|hard cases can weigh on you
accountant|keep track of money|offices|a spreadsheet|a degree in accounting|accuracy|small mistakes can cost a lot
architect|design buildings|design studios|a scale ruler|a degree in architecture|imagination|building sites can be dangerous
carpenter|build things from wood|workshops|a saw|an apprenticeship|exact measuring|a sharp saw can cut your hand
electrician|install and repair wiring|buildings|a voltage tester|an apprenticeship|steady hands|a live wire can kill you
plumber|install and repair pipes|homes|a pipe wrench|an apprenticeship|problem solving|hot pipes can burn you
bricklayer|build walls from bricks|building sites|a trowel|an apprenticeship|strength|a falling brick can injure you
roofer|cover and repair roofs|rooftops|a nail gun|an apprenticeship|good balance|a fall from a roof can kill you
welder|join pieces of metal|metal workshops|a welding torch|a welding course|steady hands|the bright arc can harm your eyes
mechanic|repair cars|garages|a wrench|an apprenticeship|technical skill|a slipping car jack can crush you
baker|make bread and cakes|bakeries|a large oven|an apprenticeship|early rising|a hot tray can burn your arms
chef|cook meals for guests|restaurants|a sharp knife|cooking school|a fine sense of taste|sharp knives can cut your fingers
butcher|cut and sell meat|butcher shops|a cleaver|an apprenticeship|clean work|a sharp cleaver can cut you
waiter|serve food and drinks|restaurants|a tray|training on the job|a good memory|wet floors can make you slip
farmer|grow crops and raise animals|farms|a tractor|practice or farming school|hard work|a tractor can tip over on slopes
gardener|take care of plants|parks and gardens|a pair of shears|a gardening course|an eye for plants|strong sun can burn your skin
fisher|catch fish to sell|boats at sea|a net|training at sea|endurance|a big wave can sweep you overboard
forester|look after woods|forests|a measuring tape|a forestry degree|love of nature|a falling tree can crush you
firefighter|put out fires and rescue people|fire stations|a hose|a fire academy course|courage|thick smoke can choke you
police officer|protect people and enforce laws|police stations|a radio|police academy|self-control|a violent suspect can hurt you
paramedic|give first aid in emergencies|ambulances|a defibrillator|a paramedic course|a cool head|heavy lifting can hurt your back
pilot|fly airplanes|cockpits|a control stick|flight school|fast decisions|tiredness can lead to mistakes
bus driver|take passengers through town|buses|a steering wheel|a bus license|attention|long sitting can hurt your back
astronaut|work and do research in space|space stations|a space suit|years of space training|calm under pressure|weak gravity can thin your bones
journalist|research and report news|newsrooms|a voice recorder|a journalism course|curiosity|war zones can be deadly
translator|carry texts into another language|offices|a dictionary|a language degree|a feel for words|long screen work can tire your eyes
photographer|take pictures of people and events|photo studios|a camera|a photography course|an eye for light|a heavy bag can strain your shoulder
hairdresser|cut and style hair|hair salons|a pair of scissors|an apprenticeship|creativity|hair dye can irritate your skin
tailor|make and alter clothes|tailor shops|a sewing machine|an apprenticeship|fine handwork|a needle can prick your finger
programmer|write and test software|offices|a computer|a computer science degree|logical thinking|endless typing can hurt your wrists
miner|dig coal and ores from the ground|mines|a drill|safety and machine training|toughness|a falling rock can injure you
lifeguard|keep swimmers safe|beaches and pools|a rescue float|a lifesaving course|strong swimming|a panicking swimmer can pull you under
"""
)
