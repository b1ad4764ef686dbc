"""Which words a pictogram may stand for: one line per icon of Font Awesome Free's solid face.

`icon [sky|water]: words`; an indented line goes on with the one before. Written by hand, because the icons' own search
terms are too loose for a picture that people will read (`tomato` finds a pizza, `garden` a worm, `elephant` a party). A
word that could be two visible things (`mouse`, `crane`, `seal`, `table`) is left out on purpose and becomes type.
Months and weekdays are calendars. `sky` things hang in the air, `water` things are at home in or over water; everything
else stands on the ground.
"""

from __future__ import annotations

TABLE = """
house: house, home, dwelling, farmhouse, country house
house-chimney: cottage, cabin, hut, little house, villa, bungalow, dacha, fireplace, chimney, hearth
house-chimney-window: bedroom, living room, guest house
house-laptop: home office, remote work, telework, remote office
house-flood-water: flood, flooding
house-fire: house fire
building: building, office, apartment, flat, skyscraper, headquarters, tower block, high-rise, company, firm,
    corporation
city: city, downtown, megapolis, metropolis, skyline, capital city
tree-city: park, boulevard, city park, public garden
building-columns: bank, university, college, parliament, ministry, government, institution, academy
landmark: museum, gallery, temple
landmark-dome: capitol, senate, planetarium, observatory
monument: monument, obelisk
hotel: hotel, motel, hostel, inn
hospital: hospital, clinic
school: school, classroom, kindergarten, lyceum, primary school
church: church, cathedral, chapel, monastery
mosque: mosque
synagogue: synagogue
place-of-worship: shrine
torii-gate: torii
gopuram: hindu temple
vihara: pagoda
shop: shop, kiosk, boutique, bakery, pharmacy, drugstore, bookshop
store: store, supermarket, market, grocery, mall, marketplace, grocery store
warehouse: warehouse, hangar, depot, storehouse, garage, barn, shed
industry: factory, industry, manufacturing, production, mill, power plant, manufacture, power station
archway: arch, archway, gate, gateway
bridge water: bridge, viaduct, footbridge, overpass, aqueduct
bridge-water water: suspension bridge
road: road, highway, motorway, street, lane, roadmap, path, pathway, avenue, freeway
road-bridge: flyover
dungeon: portcullis
chess-rook: castle, fortress, tower, citadel, rook, fort, keep
tower-observation: watchtower, lookout, lookout tower
tower-broadcast: broadcast, antenna, transmitter, broadcasting
tower-cell: cell tower, mobile network, radio tower
oil-well: oil well, oil rig, pump jack
igloo: igloo
campground: campground, wigwam, tipi
tent: tent, camping, camp, marquee
tents: tent camp, encampment, festival camp
caravan: caravan, camper, motorhome, mobile home
stairs: stairs, stair, staircase, step ladder, steps, stairway
elevator: elevator
door-open: door, doorway, entrance, open door
door-closed: closed door
window-maximize: browser window
person-shelter: shelter
sign-hanging: signboard, hanging sign
signs-post: signpost, crossroads, crossroad, fork in the road, direction, waymark
road-barrier: barrier, roadblock, obstacle, blocker
traffic-light: traffic light, semaphore, stoplight
trowel-bricks: brick, wall, masonry, brick wall, bricklayer, construction, building site, construction site
helmet-safety: helmet, hard hat, builder, safety helmet
faucet: faucet, water tap, tap water
sink: kitchen sink, washbasin
shower: shower
bath: bath, bathtub, bathroom
toilet: toilet, lavatory
toilet-paper: toilet paper
bed: bed, sleep, hotel room, dormitory
couch: couch, sofa, settee
chair: chair, stool, seat
rug: rug, carpet
blender: blender, mixer
kitchen-set: kitchen, frying pan, skillet, saucepan, cookware
fire-burner: stove, camping stove, burner
mattress-pillow: mattress
lightbulb: lightbulb, light bulb, bulb, idea, lamp, insight, lantern, inspiration, innovation, invention,
    brainwave, eureka, light
plug: electric plug, socket, power outlet
fan: ventilator, electric fan
broom: broom
brush: scrubbing brush
bucket: bucket, pail
soap: soap
pump-soap: soap dispenser
spray-can: spray can, spray, graffiti, aerosol
jug-detergent: detergent, laundry detergent
key: key
lock: lock, padlock, security, privacy
unlock: open lock
vault: vault, strongbox
bell: bell, alarm, notification, reminder
bell-concierge: reception, front desk, concierge
clock: clock, time, hour, wall clock, minute, o'clock
stopwatch: stopwatch, timer, sprint
hourglass-half: hourglass, sandglass, delay, waiting
calendar-days: calendar, month, schedule, timetable, march, january, february, april, june, july, august, september,
    october, november, december, spring release, quarter, agenda
calendar-week: week, weekend, monday, tuesday, wednesday, thursday, friday, saturday, sunday
calendar-day: deadline, due date, date, today, tomorrow, day off
calendar-check: appointment, booking, reservation, milestone
umbrella: umbrella, parasol
umbrella-beach: beach, vacation, holiday, seaside, resort, coast
glasses: glasses, spectacles, eyeglasses
shirt: shirt, t-shirt, tee, jersey, clothes, clothing, blouse
vest: vest, waistcoat
socks: sock
mitten: mitten, glove
hat-cowboy: hat, cowboy hat, cowboy
hat-wizard: wizard, wizard hat, magician, witch
graduation-cap: graduation, graduate, student, diploma, education, studies
crown: crown, king, queen, kingdom, monarch, emperor, throne, prince, princess
ring: ring, wedding ring, engagement, wedding
gem: gem, diamond, jewel, crystal, ruby, emerald, treasure, gemstone, jewellery, jewelry
suitcase: suitcase, luggage, baggage
suitcase-rolling: trolley case, trip, journey, travel
briefcase: briefcase, business, job, portfolio, work bag
bag-shopping: shopping bag, shopping, bag, handbag, purchase
basket-shopping: basket, shopping basket
cart-shopping: cart, shopping cart, trolley, e-commerce, online store, checkout
wallet: wallet, purse
coins: coin, coins, cash, penny, cent
money-bill-wave: money, banknote, bill, salary, payment, wage, price, dollar bill, fee, cost
sack-dollar: money bag, fortune, wealth, loot
piggy-bank: piggy bank, saving, savings, budget, fund
hand-holding-dollar: investment, grant, donation, funding, investor
credit-card: credit card, bank card, debit card, card payment
cash-register: cash register, cashier, till
receipt: receipt, invoice
dollar-sign: dollar
euro-sign: euro
ruble-sign: ruble, rouble
yen-sign: yen
sterling-sign: pound sterling
bitcoin-sign: bitcoin, cryptocurrency
scale-balanced: scales, justice, law, fairness, balance
gavel: court, judge, lawsuit, verdict, auction, trial, tribunal
landmark-flag: embassy
stamp: rubber stamp
people-group: team, crowd, group, people, teamwork, community, staff, crew, audience, personnel, colleague
users: user, users, customer, client, visitor, guest, members, member
user-tie: manager, boss, director, businessman, official, executive, ceo
user-doctor: doctor, physician, surgeon, medic
user-nurse: nurse
user-graduate: graduate student, postgraduate
user-astronaut: astronaut, cosmonaut, spaceman
user-secret: spy, detective, secret agent
user-ninja: ninja
person: person, man, human, human being, guy
person-dress: woman, girl, lady
child-reaching: child, kid, boy, toddler
children: children, kids, siblings, playground
baby: baby, infant, newborn
baby-carriage: pram, stroller, baby carriage
person-walking: walk, pedestrian, walker, walking, stroll
person-hiking: hike, hiker, hiking, trek, tourist
person-running: run, runner, running, race, marathon, jogging
person-biking: cyclist, cycling, biker
person-swimming water: swimmer, swimming, swimming pool
person-skiing: skier, ski, skiing
person-snowboarding: snowboarder, snowboard
person-skating: skater, skating, ice rink
person-digging: digger, excavation
person-chalkboard: presentation, lecture, lecturer, workshop, seminar
chalkboard-user: teacher, lesson, professor, tutor
chalkboard: blackboard, chalkboard, whiteboard
people-carry-box: mover, moving house, relocation
person-cane: old man, grandfather, elder, pensioner
person-praying: prayer
people-roof: family, household
handshake: handshake, agreement, partnership, deal, partner, cooperation
hand: hand
thumbs-up: thumbs up, approval
hands-clapping: applause
hand-fist: fist
heart: heart, love, valentine, kindness
heart-pulse: heartbeat, pulse, health, cardiogram
brain: brain, mind, intelligence, neuroscience, memory
eye: eye, vision, sight
tooth: tooth, dentist
bone: bone
skull: skull
lungs: lung
dna: dna, genome, gene, genetics
face-smile: smile, happiness, joy
ghost: ghost, phantom
robot: robot, android, bot, artificial intelligence, automation, chatbot
mask: carnival mask
masks-theater: theater, theatre, drama, comedy, stage play
dog: dog, puppy, hound, doggy
cat: cat, kitten, kitty
horse: horse, pony, stallion, mare
cow: cow, cattle, bull, ox
fish water: fish, salmon, trout, aquarium, carp
fish-fins water: goldfish
shrimp water: shrimp, prawn
frog: frog, toad
hippo: hippo, hippopotamus
otter: otter
dove sky: dove, bird, pigeon, peace
crow: crow, raven
kiwi-bird: kiwi bird
feather sky: feather, plume
dragon: dragon
spider: spider
bug: beetle, insect
mosquito sky: mosquito
locust: locust, grasshopper
worm: worm, caterpillar
paw: paw, pet, animal
egg: egg
tree: tree, pine, fir, spruce, forest, wood, woods, conifer, christmas tree, taiga, grove
seedling: seedling, sprout, sapling, garden, gardening, seed, startup, plant
leaf: leaf, foliage, ecology, nature, autumn leaf
clover: clover, shamrock
plant-wilt: wilted plant
wheat-awn: wheat, grain, harvest, rye, crop, cornfield, barley
spa: flower, lotus, tulip, blossom
apple-whole: apple, orchard, apple tree
lemon: lemon, lime, citrus
carrot: carrot, vegetable
pepper-hot: chili, chilli, hot pepper
bread-slice: bread, loaf, toast, sandwich bread
cheese: cheese
bacon: bacon
burger: burger, hamburger, cheeseburger
pizza-slice: pizza
hotdog: hot dog
ice-cream: ice cream
cake-candles: cake, birthday, birthday cake, anniversary, jubilee
cookie: cookie, biscuit
candy-cane: candy, candy cane
drumstick-bite: chicken leg, fried chicken
bowl-food: food, meal, porridge, soup, salad, dish, bowl
bowl-rice: rice, pilaf
utensils: restaurant, dinner, lunch, supper, fork, cutlery, canteen, dining room, cafeteria
spoon: spoon
mug-hot: coffee, tea, mug, cup, cocoa, hot chocolate, breakfast, coffee break, espresso, cappuccino, coffee machine,
    cup of coffee, cup of tea
mug-saucer: cafe, coffee cup, teacup, coffee shop, saucer, tea party
bottle-water: water bottle, plastic bottle
glass-water: glass of water, drinking water
wine-bottle: bottle
wine-glass: wine, wine glass, goblet
martini-glass-citrus: cocktail
whiskey-glass: whiskey, whisky
beer-mug-empty: beer, pub, brewery, ale, lager
champagne-glasses: champagne, toast to, celebration, party, banquet, feast, corporate party
jar: jar, jam, honey
car-side: car, automobile, sedan, road trip
car: windshield, carpool, front of a car
taxi: taxi, cab
bus: bus, coach, public transport
van-shuttle: van, minibus, shuttle bus
truck: truck, lorry, delivery truck
truck-fast: delivery, courier, express delivery, logistics, shipping, supply
truck-pickup: pickup, pickup truck
truck-medical: ambulance, emergency
truck-monster: monster truck, off-roader, jeep
tractor: tractor, farm, farmer, agriculture
motorcycle: motorcycle, motorbike, scooter, moped
bicycle: bicycle, bike
train: train, locomotive, railway, railroad, railway station, train station, steam engine, steam train
train-subway: subway, metro, underground station, subway station
train-tram: tram, streetcar, trolley car
cable-car sky: cable car, funicular
car-tunnel: tunnel
gas-pump: gas station, petrol, fuel, gasoline, petrol station
charging-station: charging station, electric car
ship water: ship, steamer, liner, cruise, vessel, freighter
ferry water: ferry, ferryboat
sailboat water: sailboat, boat, yacht, sail, sailing, regatta, dinghy
anchor water: anchor, harbor, harbour, port, dock, marina
life-ring water: lifebuoy, life ring, rescue
plane sky: plane, airplane, aeroplane, airport, flight, airline, aircraft
plane-departure sky: departure, takeoff, take-off
plane-arrival sky: landing, arrival
jet-fighter sky: jet, fighter jet
helicopter sky: helicopter
paper-plane sky: paper plane, paper airplane, telegram
parachute-box sky: parachute
rocket: rocket, launch, spaceship, spacecraft, liftoff, space, product launch, release, go-live
shuttle-space: space shuttle
satellite sky: satellite, orbit
satellite-dish: satellite dish, radar
meteor sky: meteor, asteroid, comet
earth-europe sky: earth, planet, globe, world
earth-americas sky: america
earth-africa sky: africa
earth-asia sky: asia
sun sky: sun, sunshine, summer, sunlight, sunny day, sunrise, sunset
moon sky: moon, night, moonlight, midnight
star sky: star, favorite, favourite, starlight
cloud sky: cloud, sky, cloud computing
cloud-rain sky: rain, drizzle
cloud-showers-heavy sky: downpour, shower of rain, heavy rain, rainfall
cloud-bolt sky: thunderstorm, storm, thunder
cloud-sun sky: partly cloudy, weather
bolt sky: lightning, electricity, energy, voltage, high voltage
snowflake sky: snow, snowflake, winter, frost, snowfall, blizzard
icicles sky: icicle
rainbow sky: rainbow
wind sky: wind, breeze, gust
tornado: tornado, whirlwind
hurricane sky: hurricane, cyclone, typhoon
smog sky: smog, fog, mist, haze
temperature-half: thermometer, temperature
snowman: snowman
sleigh: sleigh, sled, sledge, santa claus
holly-berry: holly, christmas
water: water, river, sea, lake, ocean, wave, stream, pond, creek, canal, bay, surf
droplet sky: drop, droplet, raindrop
mountain: mountain, peak, summit, rock, cliff, hill, mount
mountain-sun: mountains, valley, landscape, scenery, alps
volcano: volcano, eruption
fire: fire, flame, bonfire, campfire, blaze, wildfire
fire-extinguisher: fire extinguisher
explosion: explosion, blast
bomb: bomb
binoculars: binoculars, birdwatching
compass: compass, navigation
map: map, atlas, treasure map, chart of the sea
map-location-dot: route, location, place, itinerary, destination
location-dot: pin on a map, address
flag: flag, banner, country
flag-checkered: finish line, finish, checkered flag, final
computer: computer, workstation, desktop computer
desktop: monitor, screen, desktop
laptop: laptop, notebook computer, macbook
laptop-code: developer, programmer, programming, coder, coding
keyboard: keyboard
computer-mouse: computer mouse
mobile-screen: phone, smartphone, mobile phone, cell phone, mobile, mobile app, app, cellphone, iphone
tablet-screen-button: tablet, ipad
phone: telephone, phone call, handset, call, hotline
headset: support, call center, helpdesk, customer support
headphones: headphones, headphone, podcast listener
microphone: microphone, mic, singer, voice, speech, interview
square-parking: car park, parking, parking lot
microphone-lines: podcast, karaoke
radio: radio
tv: television, tv, tv set
video: video, webcam, video camera, video call
film: film, movie, cinema, filmstrip
clapperboard: clapperboard, film director
camera: camera, photo camera, photographer, photography
camera-retro: photo, photograph, snapshot
image: picture, wallpaper
images: photo album, photos, gallery of pictures
gamepad: game, gamepad, video game, gamer, playstation, joystick
server: server, data center, hosting, rack, data centre
database: database, data storage, dataset, data
hard-drive: hard drive, hard disk
floppy-disk: floppy disk, diskette
compact-disc: compact disc, cd, dvd
microchip: microchip, chip, processor, cpu, semiconductor, gpu
memory: ram
network-wired: network, lan
wifi sky: wifi, wi-fi, wireless network
battery-three-quarters: battery, accumulator
solar-panel: solar panel, solar power
print: printer
fax: fax
walkie-talkie: walkie-talkie
bug-slash: bug fix, bugfix
code: code, source code, html
diagram-project: project, architecture, flowchart, process, workflow
sitemap: hierarchy, org chart, organization chart, structure
chart-line: growth, chart, graph, progress, trend, sales growth, profit, statistics, increase, rise, sale growth,
    revenue, metric, stock market
chart-column: report, analytics, bar chart, sales, statistic, sale
chart-pie: market share, pie chart, share of the market
gauge-high: speedometer, speed, dashboard, performance
bullseye: target, goal, objective, aim, bullseye, archery
trophy: trophy, victory, prize, championship, winner, champion, success
medal: medal, award
ranking-star: podium, ranking, leaderboard
bullhorn: megaphone, announcement, loudspeaker, advertising, marketing, promotion, advert, campaign
clipboard-list: plan, checklist, to-do list, task list, backlog, task, list, requirements, requirement, user story
clipboard-check: test, inspection, audit, check-up
list-check: tasks, todo
note-sticky: sticky note, sticker
envelope: letter, envelope, mail, email, e-mail, message, newsletter
envelope-open-text: invitation
inbox: inbox, mailbox
comments: conversation, chat, discussion, talk, dialogue, meeting, debate, negotiation, dialog
comment: comment, remark, feedback
circle-question: question, riddle, mystery
triangle-exclamation: warning, danger, risk, alert, error
newspaper: newspaper, news, press, article, magazine, press release, front page, headline
book-open: book, reading, novel, story, fairy tale, tale, textbook, reader
book: dictionary, encyclopedia, manual, handbook, library
bookmark: bookmark
scroll: scroll, parchment, manuscript, script
file-lines: document, file, page, text, specification, paper document
file-contract: contract
file-signature: signature
folder-open: folder
box-archive: archive
pen: pen, ballpoint
pen-nib: fountain pen, writer, ink pen, author, poet
pencil: pencil, draft, crayon
paintbrush: paintbrush, painter, artist
palette: palette, painting, paint, art, design, colour, color, watercolor, watercolour
ruler-combined: ruler, measurement
compass-drafting: architect, blueprint, drawing compass, engineer
scissors: scissors, haircut, hairdresser
paperclip: paperclip, paper clip
thumbtack: thumbtack, pushpin
eraser: eraser
magnifying-glass: magnifying glass, search, magnifier, research, loupe, investigation, search engine
hammer: hammer, carpenter, repair, renovation
screwdriver-wrench: tool, tools, maintenance, workshop tool, toolkit
wrench: wrench, spanner, mechanic, plumber
screwdriver: screwdriver
toolbox: toolbox
gear: gear, setting, cog, cogwheel, mechanism, engine
gears: machine, machinery, system, gears
magnet: magnet
flask: laboratory, chemistry, experiment, lab, science, scientist, chemist
microscope: microscope, biology
vial: test tube
atom: atom, physics, molecule, nuclear energy
syringe: syringe, vaccine, injection, vaccination
pills: pill, medicine, medication, drug
capsules: capsule
stethoscope: stethoscope
bandage: plaster, bandage
kit-medical: first aid, first aid kit
virus: virus, coronavirus, flu, infection
wheelchair: wheelchair
puzzle-piece: puzzle, jigsaw, puzzle piece, plugin
cubes: block, blocks, module, lego
cube: cube
dice: dice, gambling, casino, board game
chess-knight: chess, strategy, knight
chess-board: chessboard
music: music, song, melody, tune, concert, note of music
guitar: guitar, rock band
drum: drum, drummer
record-vinyl: vinyl, record player, turntable
futbol: ball, football, soccer, soccer ball, goalkeeper, football match, football game, ball game, football field
basketball: basketball
volleyball: volleyball
baseball-bat-ball: baseball
table-tennis-paddle-ball: ping-pong, table tennis, tennis
bowling-ball: bowling
golf-ball-tee: golf
dumbbell: dumbbell, gym, fitness, workout, weightlifting
shield-halved: shield, protection, defense, defence, antivirus, insurance
khanda: dagger
gun: gun, pistol
hand-holding-heart: charity, care, volunteer
gift: gift, surprise, bonus
ticket: ticket, admission
wand-magic-sparkles: magic wand, magic, trick
box: box, package, parcel, cardboard box, product
boxes-stacked: inventory, crates, cargo, pile of boxes, goods
box-open: unboxing, open box
tag: price tag, tag, discount, label
barcode: barcode
trash-can: trash, garbage, rubbish, bin, trash can, waste
recycle: recycling, recycle
dumpster: dumpster
paint-roller: paint roller, repainting
shoe-prints: footprint, trace, footstep
link: chain, link
snowplow: snowplow
horse-head: carousel horse
cloud-arrow-up sky: upload, deploy, deployment
cloud-moon sky: moonlit cloud
scale-unbalanced: imbalance
sack-xmark: bankruptcy
water-ladder: ladder in a pool
mound: mound, burrow, molehill
bore-hole: well, borehole
user-shield: guard, security guard, policeman
user-gear: administrator, admin, sysadmin
"""

IRREGULAR_PLURALS = {
    "men": "man",
    "women": "woman",
    "geese": "goose",
    "mice": "mouse",
    "feet": "foot",
    "teeth": "tooth",
    "leaves": "leaf",
    "loaves": "loaf",
    "knives": "knife",
    "wolves": "wolf",
    "shelves": "shelf",
    "oxen": "ox",
    "data centres": "data centre",
}
"""Plurals that no ending rule finds."""

MEASURES = """
bottle bouquet bunch couple crowd flock game glass group handful herd kind lot number pack pair piece pile row sack set
slice sort stack type
"""
"""Heads that only count or hold what comes after `of`: a herd of cows is cows."""

NEVER = """
free trial, white paper, cover letter, news letter, blog post, air bag, bedside, big picture, binary tree, black sea
fleet, block chain, blockchain, body painting, book case, bookcase, bottle neck, bottleneck, boxing ring, brain drain,
brain storm, brainstorm, bread crumb, bull ring, bus driver, bus station, bus stop, car driver, car seat, card game,
cat walk, cell structure, check box, checkbox, chess board, close call, cold call, cold war, computer virus, court
yard, crash landing, crystal ball, dance floor, data structure, dead line, decision tree, disk space, drag queen, ear
ring, earring, family tree, fire engine, flight of stairs, food chain, foreign key, green house, green light,
greenhouse, hair dye, happy hour, head space, head start, high street, home page, hot dog stand, hot key, hot plate,
hot spring, inner circle, juice box, key point, key question, key ring, key word, keynote, keyword, landing page, last
minute, letter box, life cycle, lion king, living space, log file, lunch box, mail box, market leader, masked ball,
moon landing, movie star, music box, name space, office hour, oil painting, onion ring, opera house, outer ring, paper
tiger, paper weight, parking space, phone box, phone case, pillow case, pop star, power plant worker, primary key,
private key, public key, red light, rock star, rocket science, roll call, rush hour, safe house, school bus driver,
school of fish, sea food, sea horse, sea level, seafood, sewing machine, shooting star, sleeping bag, snow ball,
snowball, soft landing, space bar, sports car seat, story point, sugar cane, supply chain, taxi driver, tea bag,
tennis court, test case, text box, time out, time zone, tool box, traffic jam, train driver, train of thought, tram
stop, tree structure, truck driver, user interface, value chain, vending machine, wake up call, wall street, warning
light, washing machine, web page, white house, white space, world record
"""
"""Names whose tail would draw something else than what was said, separated by commas."""
