"""More training wordings for every pole: many words, idioms and situations, for the reward head alone.

The memory reads wishes with the catalogue's wordings, which stay few so that they load quickly.
"""

from __future__ import annotations

__all__ = ["MORE"]


def _phrases(text: str) -> tuple[str, ...]:
    """Split wordings parted by semicolons, over any number of lines."""
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


MORE: dict[str, tuple[str, ...]] = {
    "length:concise": _phrases(
        """I am on my phone in a queue; TLDR please; just the gist; cut to the chase; spare me the waffle; no padding;
        no filler; don't beat around the bush; a one-liner will do; the elevator pitch is enough; abridged answers;
        no fluff; I got tired of scrolling; my train leaves in two minutes; headline only; trim the fat; wrap it up
        fast; stop blabbering; no monologues; no sermons; don't lecture me endlessly; no epic tales; that was an
        endless slog; I nodded off halfway through; prune it hard; snappy replies; crisp answers; tight and lean; a
        nugget, not a tome; keep the word count tiny; a single line; skim-friendly length; I need it in a flash; no
        digressions; don't go off on tangents; curt replies are okay; leave the long-winded stuff out; stop droning
        on; it was like reading War and Peace; no dissertation; nobody reads a novel for a yes; as a haiku would,
        waste nothing; a mere snippet; don't pile on the particulars; my patience runs out quickly; hurry it up; the
        size of a fortune cookie; chop it in half; I'm busy, be swift; less chatter; nothing beyond the core; the
        takeaway alone; small doses; reads in five seconds; shrink it"""
    ),
    "length:detailed": _phrases(
        """more than the gist; the bottom line alone won't do; go the extra mile; expand on everything; the full monty;
        leave no stone unturned; from A to Z; chapter and verse; the ins and outs; be expansive; one-liners are
        useless to me; at least three hundred words; a generous amount of material; unabridged answers; I don't mind
        scrolling; it's a long flight, give me plenty; put meat on the bones; feel free to lecture me; a long
        monologue is fine; write me a whole sermon; that was meager; I was left hungry for more; that felt
        superficial; don't be curt; you barely scratched the surface; dig into it; spell it all out; a tome, not a
        nugget; high word count please; several screens of content; digressions are welcome; go off on tangents;
        long-winded is okay; ramble if you want; as long as War and Peace; yes or no is never enough; no mere
        snippets; pile on the particulars; my patience is endless; don't hurry; don't rush through it; double the
        size; overexplain if need be; spare no effort; every nook and cranny; the takeaway alone is too little;
        large doses of knowledge; a twenty minute read; dwell on each aspect; all angles and nuances; complete
        coverage; stretch it out; go beyond the core; every last fact; unpack it fully"""
    ),
    "tone:formal": _phrases(
        """address me as madam; dear sir is better than hey; suit and tie, not sweatpants; as at a royal reception;
        talk like a bank manager; as a head waiter at the Ritz; like the palace spokesman; this is for the board of
        directors; my bishop reads over my shoulder; for the embassy; you are writing to the ministry; parliament
        style; I will forward this to the chief executive; corporate tone; impeccable manners; decorum please; be
        gracious; with all due respect; maintain a courtly manner; stately phrasing; white gloves on; best behavior
        please; keep it classy; cultured speech; be distinguished; polished wording; lofty language; proper and
        prim; be deferential; treat me like royalty; show some reverence; use my title and surname; first names are
        too intimate; no swearing; no cussing; no buddy talk; don't call me mate; I'm not your homie; hands off the
        chumminess; no yo or sup; no gonna or wanna; watch your language; don't get sloppy; you were rude; that was
        disrespectful; too folksy; way too breezy; you are not my neighbor; save the backyard chat; less matey;
        ambassadorial poise; as in a courtroom; black-tie wording; Victorian gentleman style; kindly be decorous"""
    ),
    "tone:casual": _phrases(
        """don't call me sir; never madam; sweatpants, not suit and tie; as if over a beer; like chatting on a couch;
        as at a barbecue; talk like my roommate; like my favorite cousin; as a barista would; like a skater kid;
        backyard chat style; no corporate speak; you sound like a bank manager; drop the decorum; no lofty language;
        don't be prim; hang loose; take it easy; kick off your shoes; let your hair down; stop putting on airs;
        don't be stuffy; you are so uptight; that was cold and distant; too starchy; too buttoned-up; too posh; lose
        the pomp; don't be snooty; no white gloves; no black tie here; we're on first-name terms; nicknames are
        welcome; I'm your homie; yo or sup is fine; gonna and wanna are fine; use contractions; swearing is okay;
        folksy please; down-to-earth talk; homey and cozy; be chummy; be matey; don't treat me like royalty; no
        titles or surnames; no deference needed; be a buddy; like a camp counselor at the fire; like a DM from a
        mate; as in a voice message; hey there beats good day; warm and neighborly; be approachable; be personable;
        less palace, more kitchen table"""
    ),
    "humor:humorous": _phrases(
        """gags, please; tickle my funny bone; make me snort; like a late-night host; like a jester at court; talk like
        Groucho Marx; Monty Python style; like a sitcom; tongue in cheek; add some sarcasm; a bit of irony; be
        cheeky and droll; dad jokes please; limericks welcome; one-liners that get a grin; a punchline at the end;
        quips please; some banter; be zany; be wacky; be whimsical; be absurd; slapstick please; a dash of mischief;
        tease me; pull my leg; roast me a little; make it a hoot; make it a riot; a barrel of laughs; LOL is my
        goal; I want to howl; I had a sad day, cheer me up; brighten my mood with something comic; you are such a
        killjoy; where is the fun; as dull as dishwater; that was deadpan and dreary; lose the stern look; not so
        stiff-lipped; no gloom please; be jolly; be merry; jokey answers; jest with me; add levity; parody it; mock
        it gently; spoof it; wordplay is great; like the class joker; be a wag; ham it up; some monkey business; be
        facetious"""
    ),
    "humor:serious": _phrases(
        """keep your gags to yourself; don't tickle me; no punchlines; no banter; no sarcasm; no irony please; satire
        is unwelcome; no dad jokes; no limericks; not a sitcom; no cartoon antics; this is no circus; you are not a
        late-night host; stop playing the jester; don't pull my leg; don't tease me; don't roast me; no slapstick;
        no mischief; nothing zany; nothing wacky; no whimsy; no absurdity; be stern; keep a straight face; deadpan
        is good; stiff upper lip; as a surgeon before an operation; as at a memorial; I'm grieving, no levity;
        somebody died, have some decency; this is life and death; wipe that grin off; I don't find that amusing; I
        fail to see the humor; that joke fell flat; you are not as comical as you think; quips get on my nerves;
        enough jesting; no teasing; no parody; don't mock it; no spoofs; don't be flippant; nothing jokey; don't be
        jolly; be sincere; weighty and grave; I came for facts, not laughs; no horseplay; I mean business; be a
        killjoy; dead serious please; hold the laughs; humorless is fine"""
    ),
    "format:list": _phrases(
        """a new line for every thought; as an inventory; like a recipe's ingredients; like a menu; like an agenda;
        like a packing list; like a catalog; a rundown of items; outline form; as a roster; as an index; a ranking,
        one to ten; top ten style; a listicle please; ordered list; unordered list; markdown list; HTML li tags;
        with Roman numerals; use a), b), c); a dot before each entry; hyphens in front; little black dots; break the
        lines; chop it into items; carve it up into lines; separate entries; split things apart; lay it out in
        lines; arrange it as rungs of a ladder; rows please; as a column of items; cheat sheet layout; PowerPoint
        style; I paste it into slides; memo with bullet marks; I check things off; easy to scan with my eyes; a
        block of text scares me; the paragraph was a jungle; don't string sentences along; no storytelling form;
        don't write a composition; I can't find anything in an essay; don't run it all into one; fragments, one per
        line; skip the connecting sentences; number one, number two, and so forth; tally them; count them off; with
        ordinals; bulletpoint everything; steps one through five; sorted in lines; chunk it"""
    ),
    "format:prose": _phrases(
        """no inventory please; don't write a menu; no agenda look; no outline; no listicle; no top ten; no ranking; no
        ordered list; no unordered list; no markdown list; drop the hyphens in front; no little black dots; no Roman
        numerals; no a), b), c); no cheat sheet layout; no PowerPoint style; don't chop it into items; don't carve
        it up; don't count them off; no line breaks; no fragments; sentences with transitions; link the ideas; let
        one thought lead to the next; let it flow like a river; a seamless passage; a coherent passage; cohesive
        text; a solid block of text; a wall of text is fine; continue in the same line; write in literary form; like
        a newspaper column; as a blog entry; as a diary entry; like a storyteller; like a short story; as an author
        would; like a memoir; like a speech read aloud; my screen reader stumbles over bullets; connected discourse;
        a composition please; ordinary text; plain sentences in a row; regular paragraphs; unbroken text; undivided
        text; bullets feel like a manual; it looked like a grocery slip; I am tired of bulletpoints; no rungs and
        rows; stitch the sentences to each other; blend it into a paragraph; a written-out text"""
    ),
    "level:simple": _phrases(
        """it went over my head; that was Greek to me; too much gobbledygook; cut the mumbo jumbo; no technobabble; I
        dropped out of school; I flunked physics; I have no background in this; total rookie here; I am only a
        learner; still green at this; an absolute amateur here; no prior knowledge assumed; assume I am clueless;
        assume zero knowledge; I am a complete outsider; for ordinary folks; for regular people; for the man in the
        street; for my little brother; for my eight-year-old daughter; for a class of second graders; for
        preschoolers; as for pupils in primary school; like a picture book; as on Sesame Street; the way grandpa
        would get it; my grandson reads along; don't use Latin names; no Greek letters; skip the formulas; no
        equations; no acronyms; no abbreviations I must look up; no ten-dollar words; no highbrow speech; no lofty
        terms; nothing esoteric; no insider lingo; no obscure expressions; I had to grab a dictionary; my brain
        hurts from those terms; it made my head spin; I am confused; you lost me at the second word; I couldn't
        follow you; too complex; too intricate for me; too brainy for me; too scientific for me; too learned;
        undemanding please; understandable to all; digestible words; beginner friendly; introductory level;
        straightforward wording; uncomplicated language; spoon-feed it to me; take baby steps"""
    ),
    "level:technical": _phrases(
        """I work in a laboratory; I teach this at college; I wrote my thesis on this; I am a researcher; I am a
        physicist; I am a chemist by training; I am a biologist; I am a doctor, use medical terms; I am a surgeon; I
        am a programmer; I am a veteran in this trade; I do this for a living; I have a master in this subject; I
        majored in this; I have decades of experience; I am a pro; I am no rookie; I am no amateur; I am well versed
        in this; I am a connoisseur of the field; assume prior knowledge; assume deep knowledge; don't spoon-feed
        me; don't water it down; don't simplify; don't oversimplify; don't treat me as clueless; don't talk down to
        me; no kiddie stuff; no child-level talk; nothing for preschoolers; I am past primary school; that insulted
        my intelligence; give my brain a workout; challenge me intellectually; don't be afraid of complexity;
        complex is good; as complex as it needs to be; formulas are welcome; bring on the equations; give me the
        math; use Greek symbols; use the Latin names; acronyms are okay; insider lingo is welcome; talk shop with
        me; as between colleagues in the lab; colleague to colleague; as at a scientific conference; like a lecture
        at MIT; like a dissertation; like a doctoral thesis; peer review quality; as in a white paper; as in a spec
        sheet; like a datasheet; like an engineering manual; like a lecturer; like an Einstein; like a rocket
        scientist"""
    ),
    "examples:examples": _phrases(
        """for instance, and then something; use "for instance"; an instance or two; instances please; cite a case; a
        case study please; case studies help me; use case please; give me use cases; show, don't just tell; show me
        how it looks; show it in action; let me see it at work; let me picture it; paint me a picture; put flesh on
        the bones; I can't picture it; too airy; too vague, show one; too general; don't be so hypothetical; come
        down from the clouds; back to earth please; down-to-earth cases; something tangible; something I can touch;
        I learn by seeing; I learn by doing; I am a hands-on learner; hands-on please; teach me by showing; as a
        teacher at the board would show; like a chef showing the dish; with a demo; demo it; a test case; a worked
        case; a worked problem; work one through for me; compare it to something familiar; use an analogy; an
        analogy helps; analogies please; a comparison from daily life; use similes; a metaphor helps me; a parable
        would help; a little tale from the kitchen; tell me a story where it happened; what happened to someone
        once; a true story please; real-world situations; situations from work; an incident from history; a
        precedent please; historical precedents; an episode from your experience; name a specific person or thing;
        be specific; specifics please"""
    ),
    "examples:no-examples": _phrases(
        """no "for instance"; drop the instances; no case studies; don't cite cases; no use cases; no demos; don't demo
        it; no test cases; no worked cases; no worked problems; no analogies; don't use analogies; skip the analogy;
        no comparisons; don't compare it to things; no similes; no metaphors; no parables; no fables; no little
        tales; don't tell stories; stop telling me stories; stories distract me; no true stories; no episodes; no
        incidents; no precedents; no history of who did what; no Anna and Bob; no apples and oranges; no cows and
        bakeries; don't say "such as"; don't say "suppose"; no imagine this; don't ask me to imagine; no
        hypotheticals; no what-ifs; I can picture it myself; I can think of my own cases; I find my own
        applications; no applications; don't paint me a picture; don't show, tell; tell me, no showing; no hands-on
        stuff; no templates; no prototypes; no models to imitate; no showcase; no situations; skip the situations;
        no specifics; the general principle only; principles only; principles over practice; just the concept;
        concepts, nothing tangible; the bare rule; the law itself; a definition is enough"""
    ),
    "warnings:warnings": _phrases(
        """better safe than sorry; safety comes first; prudence please; be prudent; sound the alarm; ring the alarm
        bell; an alarm would be good; put up a stop light; caution me; be a guardian angel; be my lifeguard; look
        out for me; watch over me; watch my back; like a worried mother; like a mother hen; like a safety inspector;
        like a fire marshal; like a nurse with a new drug; like a leaflet in a pill box; list the side effects; side
        effects please; contraindications please; threats too; name the threats; the downsides as well; tell me the
        downside; drawbacks too; the dark side of it; what might backfire; what could blow up in my face; what might
        hurt me; could it hurt somebody; could I get injured; injuries to expect; tell me if it is harmful; harm
        matters to me; is it poisonous, say so; tell me if it is toxic; tell me when to call a doctor; tell me when
        to see a professional; emergency numbers please; first aid remarks please; precautions please; precautionary
        measures; protective measures; which gloves and goggles to wear; helmet and seat belt advice; mention the
        fine print; small children live here; I have a toddler at home; I am pregnant, take care; I have allergies;
        I am clumsy; I am accident-prone; I once burned myself badly; I got hurt last time; I am a worrier; I am
        timid; I am easily scared, prepare me"""
    ),
    "warnings:no-warnings": _phrases(
        """no alarm bells; stop the alarm; don't be alarmist; no alarmism; no doom and gloom; no horror stories; don't
        panic on my behalf; stop fretting; don't fuss over me; stop fussing; don't be a mother hen; don't mother me;
        you are not my mother; you are not my guardian; no nanny talk; I need no nanny; don't coddle me; don't wrap
        me in cotton wool; don't patronize me about safety; no preaching; don't preach; no moralizing; don't
        moralize; no finger-wagging; stop wagging your finger; don't lecture me about danger; no sermons on safety;
        no legal boilerplate; no liability talk; no fine print; I won't sue you; I signed the waiver; at my own
        risk; I take full responsibility; I bear the consequences; it is my neck; that is my problem, not yours; my
        life, my choice; no side effects; don't list side effects; no downsides; no drawbacks; skip the worst case;
        no threats; no traps; no "consult a doctor"; don't send me to a professional; don't tell me to see a
        physician; no emergency numbers; no precautions; skip the precautionary talk; no gloves and goggles talk; no
        helmet advice; no watch out; no take care; no "never do this"; no don'ts; I am a trained professional; I
        have done it a thousand times; I am fearless"""
    ),
    "emoji:emoji": _phrases(
        """a grin now and then; add a grinning face; laughing faces please; crying-with-laughter faces; a blushing
        face; a kissy face would be sweet; sunglasses face please; frowny faces too; sad faces for sad news; facial
        expressions please; a rocket or a rainbow; put rainbows in; a rainbow and a sun; flames for hot stuff; fire
        symbols please; add a flower; flowers and butterflies; roses please; four-leaf clovers please; little
        animals in the text; a cat face would be nice; monkeys covering their eyes; unicorns please; a pizza slice
        for food; little fruit pictures; cake and balloons; confetti please; a trophy for good news; clapping hands;
        add a high five; waving hand at the start; folded hands; a flexed arm for courage; check marks in green; add
        a lightbulb; magnifying glass and pins; arrows and flags; country flags please; weather pictures; moons and
        planets; a colon and a bracket is a start; colon-parenthesis please; kaomoji please; add kaomojis; use GIF-
        like faces; stickers please; add stickers; like WhatsApp; as on Instagram; like a TikTok comment; like my
        niece texts; as in a group chat; the way influencers post; like a Snapchat message; spice it with tiny
        faces; pepper it with smileys; garnish it with icons; jazz it up with symbols; make it colorful; cuteness
        please"""
    ),
    "emoji:no-emoji": _phrases(
        """no grins; no grinning faces; stop the grinning faces; no laughing faces; no crying faces; no blushing faces;
        no kissy faces; no sunglasses faces; no frowny faces; no facial expressions; no faces at all; remove the
        faces; no rockets; skip the rockets; no rainbows; no suns and moons; no flames; no fire symbols; no flowers;
        no roses; no butterflies; no animals in the text; no cat faces; no monkeys; no unicorns; no pizza slices; no
        cake and balloons; no confetti; no trophies; no clapping hands; no high fives; no waving hands; no folded
        hands; no flexed arms; no check marks; no lightbulbs; no arrows; no flags; no weather pictures; no colon and
        bracket; no colon-parenthesis; no kaomoji; no GIFs; no stickers; we are not on WhatsApp; this is not
        Instagram; not like TikTok; not like a teenager texting; not like an influencer; don't pepper it with faces;
        don't garnish it; don't jazz it up; no decoration; undecorated text; unadorned text; bare text; no
        ornaments; no embellishment; no visual clutter; clutter free please"""
    ),
}
