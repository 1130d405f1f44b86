#!/usr/bin/env python3
"""Write the text that the tiny model is pre-trained on, from hand-written facts and story clauses.

usage: python3 scripts/make-pretrain-text.py [--out datasets/pretrain]

The same seed always gives the same files. Three of them come out:
  facts.txt      short paragraphs about one thing each,
  stories.txt    short stories,
  questions.txt  questions with answers in the chat format of Phi-3, about the things of facts.txt.
None holds a question or an answer of datasets/olive-qa.jsonl: the script checks that and stops if one does.
"""
import argparse
import json
import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED = 7

# name | kind | where it lives | what it eats | what it can do | how it looks
ANIMALS = """
fox | wild animal | in the forest | mice and berries | run fast and hide well | red with a white tail
bear | large wild animal | in the mountains | fish, honey and berries | climb and swim | brown and heavy
wolf | wild animal | in a pack in the forest | deer and rabbits | howl at night | grey with yellow eyes
rabbit | small animal | in a hole in the ground | grass and leaves | jump and dig | brown with long ears
mouse | very small animal | in the walls of old houses | grain and cheese | squeeze through small holes | grey with a long tail
cat | pet | in a house with people | meat and fish | climb and catch mice | soft with green eyes
dog | pet | in a house with people | meat and bread | guard the door | friendly with a wet nose
horse | farm animal | in a stable | hay and oats | carry people and pull carts | tall and strong
cow | farm animal | on a green field | grass and hay | give milk | black and white
sheep | farm animal | on the hills | grass | give wool | white and woolly
goat | farm animal | on dry and rocky land | grass, leaves and paper | climb steep rocks | thin with two horns
pig | farm animal | in a pen | corn, apples and scraps | smell food under the ground | pink and round
hen | farm bird | in a small wooden house | corn and worms | lay eggs | brown with a red comb
duck | bird | on the pond | water plants and snails | swim and fly | white with a yellow beak
swan | large bird | on the lake | water plants | fly long ways | white with a long neck
eagle | large bird | on high cliffs | fish and rabbits | see far | brown with a sharp beak
owl | bird | in old trees | mice | see in the dark | round with large eyes
crow | bird | in the fields | seeds and insects | solve small problems | black from head to tail
swallow | small bird | under the roof of a barn | insects | fly very fast | blue and white
robin | small bird | in the garden | worms and seeds | sing in winter | brown with a red chest
parrot | bird | in warm forests | fruit and nuts | copy words | green and loud
bee | insect | in a hive | nectar from flowers | make honey and wax | yellow and black
ant | insect | in a nest under the ground | seeds and sugar | carry heavy things | black and tiny
butterfly | insect | in the meadow | nectar | fly from flower to flower | light with bright wings
spider | small animal with eight legs | in a web | flies | spin thread | dark and hairy
snail | slow animal | under wet leaves | green leaves | hide in its shell | soft with a round shell
frog | small animal | near the pond | flies and worms | jump and swim | green and wet
snake | long animal | between warm stones | mice and eggs | move without legs | smooth and thin
turtle | slow animal | in the sea and on the beach | plants and jelly fish | live for a long time | green with a hard shell
shark | large fish | in the ocean | other fish | smell blood from far away | grey with sharp teeth
salmon | fish | in rivers and in the sea | small fish and shrimps | swim up a river | silver and pink
whale | very large animal | in the ocean | tiny shrimps | dive deep | blue and grey
dolphin | clever animal | in the warm sea | fish | jump out of the water | grey and smooth
seal | sea animal | on cold coasts | fish | sleep on the ice | fat and grey
elephant | very large animal | in dry grass land | leaves and bark | lift trees | grey with a long nose
lion | wild cat | in dry grass land | zebras and other animals | roar | yellow with a large mane
monkey | clever animal | in warm forests | fruit and nuts | swing from branch to branch | brown with a long tail
camel | animal | in the desert | dry plants | walk for days without water | tall with one hump
donkey | farm animal | on dry farms in the south | hay and thistles | carry heavy bags | grey and patient
bat | small animal that flies | in dark caves | insects | find its way in the dark | brown with thin wings
"""

# name | kind | what it needs or where it grows | what it gives | how it looks
PLANTS = """
oak | strong tree | in forests and in parks | acorns and hard timber | wide with rough bark
pine | tree with needles | on sandy ground and on hills | cones and soft timber | straight and dark green
birch | thin tree | in cold countries | light timber | white with small leaves
willow | tree | along rivers | thin twigs for baskets | soft with hanging branches
apple tree | fruit tree | in gardens | apples in autumn | round with pink blossom
cherry tree | fruit tree | in gardens | red cherries in early summer | white with blossom
lemon tree | fruit tree | in warm countries | yellow lemons | small with shiny leaves
fig tree | fruit tree | near old walls | sweet figs | low with large leaves
vine | climbing plant | on sunny hills | grapes for juice and wine | long with twisted branches
wheat | grass | on large fields | grain for bread | yellow before the harvest
corn | tall grass | on warm fields | yellow grain | high with long leaves
rice | grass | in fields under water | white grain | thin and green
rose | flower | in the garden | a sweet smell | red with sharp thorns
tulip | flower | from a bulb in the ground | colour in spring | simple and bright
sunflower | tall flower | in open fields | seeds and cooking fat | yellow with a dark middle
lavender | small bush | on dry stony hills | a strong smell | purple with thin leaves
thyme | herb | between stones | leaves for soups | low with tiny leaves
mint | herb | in wet corners of the garden | leaves for tea | green and fresh
tomato | garden plant | in warm beds | red round fruit | soft with hairy stems
potato | garden plant | under loose ground | roots that people cook | low with white flowers
onion | garden plant | in rows in the bed | bulbs that make people cry | thin with hollow leaves
carrot | garden plant | in deep sand | sweet orange roots | light with fine leaves
pumpkin | garden plant | on a warm heap | large orange fruit | long with wide leaves
moss | small plant | on wet stones | a soft cover for the ground | green and flat
mushroom | thing that is not a plant | in dark and wet forests | food for people and worms | round with a hat
almond tree | fruit tree | in dry warm valleys | nuts in a shell | pink with early blossom
palm | tall tree | on warm beaches | dates or coconuts | straight with leaves at the top
laurel | evergreen bush | near old walls | leaves for soups | dark green and stiff
"""

# name | what it is made of | what people use it for | where it is kept
THINGS = """
hammer | iron and wood | to drive nails into a board | in the tool box
saw | steel | to cut wood | on the wall of the shed
knife | steel | to cut bread and meat | in the kitchen drawer
spoon | metal or wood | to eat soup | in the kitchen drawer
fork | metal | to pick up food | in the kitchen drawer
cup | clay | to drink tea | on the shelf
plate | clay | to serve a meal | in the cupboard
bowl | clay or wood | to hold salad and fruit | on the table
pan | iron | to fry eggs | on the stove
pot | iron | to boil water | on the stove
jar | glass | to store jam | in the cellar
bottle | glass | to hold water or wine | in the cellar
lamp | metal and glass | to light a room | on the desk
candle | wax | to light a dark room | in a box
clock | metal | to tell the time | on the wall
chair | wood | to sit at a table | in the kitchen
table | wood | to eat and to work | in the middle of the room
bed | wood and cloth | to sleep | in the bedroom
door | wood | to close a room | at the front of the house
window | glass | to let light into a room | in the wall
key | metal | to open a lock | in the pocket
bag | cloth | to carry things | behind the door
basket | thin twigs | to carry apples | in the kitchen
ladder | wood | to climb a tree or a wall | in the barn
rake | wood and iron | to gather leaves | in the shed
net | thin rope | to catch fish | in the boat
rope | long fibres | to tie a boat | in the boat
boat | wood | to cross the water | in the harbour
cart | wood | to carry stones and hay | in the barn
wheel | wood or rubber | to make a cart roll | under the cart
book | paper | to read | on the shelf
pen | plastic and ink | to write | on the desk
letter | paper | to send news | in the post box
map | paper | to find the way | in the car
shirt | cotton | to cover the body | in the wardrobe
coat | wool | to keep warm | behind the door
shoe | leather | to protect the foot | near the door
soap | fat and ash | to wash the hands | near the sink
towel | cotton | to dry the hands | near the sink
needle | steel | to sew cloth | in a small box
bell | bronze | to call people | in the tower
stone wall | stone | to hold the ground on a hill | between two fields
brick | burned clay | to build a house | in a heap near the house
bridge | stone or steel | to cross a river | at the edge of the town
press | wood and iron | to squeeze juice from grapes | in a cool room
mill stone | hard stone | to grind grain | in the old mill
glasses | glass and metal | to see better | in a hard case
phone | plastic and glass | to talk with people far away | in the pocket
"""

# name | what it is | what it holds or does
COMPUTER = """
computer | machine | it follows the steps of a program
program | list of steps | it tells a computer what to do
file | piece of data with a name | it lies in a folder on a disk
folder | place for files | it can hold other folders too
disk | part of a computer | it keeps files when the power is off
keyboard | board with many keys | it sends letters to the computer
screen | flat part of a computer | it shows text and pictures
network | group of computers | it sends data from one computer to another
number | sign for how many | it can be whole or have a point
matrix | table of numbers | it has rows and columns
row | line of a table | it goes from left to right
column | line of a table | it goes from top to bottom
bit | smallest piece of data | it is zero or one
byte | group of eight bits | it can hold one letter
memory | part of a computer | it holds data while a program runs
processor | part of a computer | it does the sums
model | small copy of something large | it shows how the large thing works
weight | number that says how heavy a thing is | it is read from a scale
layer | flat part that lies on another part | it can be thin or thick
format | fixed way to write something down | it lets two programs share a file
library | house or a set of files that many people use | it lends books or steps
template | text with gaps | it is filled with words
column of text | narrow block of lines | it is easy to read
command | line that starts a program | it is typed on the keyboard
result | thing that comes out at the end | it can be right or wrong
test | small task with a known result | it shows if a program is right
error | sign that something went wrong | it should say what to do
list | row of things in a fixed order | it can be long or short
cache | hidden store | it keeps what will be needed again
tool | thing that helps with work | it saves time
scale | device with numbers | it shows how heavy a thing is
step | one part of a longer way | it brings you closer to the end
message | short text for another person | it has a sender and a reader
"""

# name | work | place | tool
JOBS = """
baker | bakes bread and cakes | in a bakery | a hot oven
farmer | grows food and keeps animals | on a farm | a plough and a cart
fisherman | catches fish | on the sea | a net and a boat
teacher | helps children to learn | in a school | books and a board
doctor | helps people who are ill | in a hospital | clean hands and good eyes
nurse | cares for people who are ill | in a hospital | patience
cook | makes meals | in a kitchen | pots, pans and knives
carpenter | makes things of wood | in a workshop | a saw and a hammer
smith | shapes hot iron | in a forge | a heavy hammer
tailor | sews clothes | in a small shop | a needle and thread
miller | grinds grain | in a mill | two heavy stones
shepherd | watches over sheep | on the hills | a dog and a stick
gardener | cares for plants | in a garden | a rake and a spade
painter | paints walls and pictures | in many houses | brushes and colour
builder | builds houses | on a building site | bricks and a ladder
driver | drives a bus | on the road | a good map
pilot | flies a plane | in the air | a radio
sailor | works on a ship | on the sea | ropes and sails
judge | decides who is right | in a court | the law
writer | writes books | at a desk | pen and paper
potter | makes jars and bowls | in a workshop | a wheel and clay
merchant | buys and sells goods | at the market | a scale and a purse
programmer | writes programs | at a desk | a keyboard
librarian | looks after books | in a library | long lists
"""

# country | capital | part of the world | something known
COUNTRIES = """
Spain | Madrid | the south of Europe | warm beaches and old castles
Italy | Rome | the south of Europe | old towns and good food
Greece | Athens | the south of Europe | many islands
France | Paris | the west of Europe | cheese and bread
Portugal | Lisbon | the west of Europe | long beaches
Germany | Berlin | the middle of Europe | cars and forests
Austria | Vienna | the middle of Europe | music and mountains
Poland | Warsaw | the east of Europe | wide fields
Norway | Oslo | the north of Europe | deep valleys full of sea water
Sweden | Stockholm | the north of Europe | forests and lakes
Finland | Helsinki | the north of Europe | thousands of lakes
Iceland | Reykjavik | the north of Europe | hot springs
Ireland | Dublin | the west of Europe | green hills
Turkey | Ankara | the edge of Europe and Asia | large markets
Egypt | Cairo | the north of Africa | pyramids
Tunisia | Tunis | the north of Africa | desert and sea
Morocco | Rabat | the north of Africa | high mountains and markets
Kenya | Nairobi | the east of Africa | wild animals
Japan | Tokyo | the east of Asia | fast trains
China | Beijing | the east of Asia | a very long wall
India | Delhi | the south of Asia | spices and many languages
Canada | Ottawa | the north of America | forests and snow
Mexico | Mexico City | America | corn and old temples
Brazil | Brasilia | the south of America | a very large river
Peru | Lima | the south of America | high mountains
Australia | Canberra | the south of the world | animals that live nowhere else
"""

# Plain facts with one or two questions each.
FACTS = """
A week has seven days. | How many days does a week have? | How many days are in a week?
A year has twelve months. | How many months does a year have?
A day has twenty-four hours. | How many hours does a day have? | How long is a day?
An hour has sixty minutes. | How many minutes does an hour have?
A minute has sixty seconds. | How many seconds does a minute have?
Spring comes after winter. | Which season comes after winter? | What comes after winter?
Summer is the warmest season of the year. | Which season is the warmest?
In autumn the leaves of many trees turn yellow and fall. | What happens to the leaves in autumn?
Winter is cold, and the days are short. | What is winter like? | When are the days short?
The sun rises in the east. | Where does the sun rise?
The sun sets in the west. | Where does the sun set?
The moon goes around the earth. | What does the moon do?
The earth goes around the sun in one year. | How long does the earth need to go around the sun?
Water freezes at zero degrees Celsius. | When does water freeze?
Water boils at one hundred degrees Celsius. | When does water boil?
Ice is frozen water. | What is ice?
Steam is water in the air. | What is steam?
Rain falls from dark clouds. | Where does rain come from?
Snow is made of small pieces of ice. | What is snow made of?
The wind is air that moves. | What is the wind?
A rainbow appears when the sun shines through rain. | When does a rainbow appear?
The sky is blue on a clear day. | What colour is the sky?
Grass is green. | What colour is grass?
Coal is black. | What colour is coal?
Milk is white. | What colour is milk?
A ripe banana is yellow. | What colour is a banana?
Bread is made from flour, water and salt. | What is bread made from?
Butter is made from cream. | What is butter made from?
Cheese is made from milk. | What is cheese made from?
Wine is made from grapes. | What is wine made from?
Paper is made from wood. | What is paper made from?
Glass is made from sand. | What is glass made from?
Jam is made from fruit and sugar. | What is jam made from?
A pancake is made from eggs, flour and milk. | What is a pancake made from?
Sugar is sweet. | How does sugar taste?
Lemons are sour. | How do lemons taste?
Salt comes from the sea or from mines. | Where does salt come from?
Honey comes from bees. | Where does honey come from?
Wool comes from sheep. | Where does wool come from?
Eggs come from hens. | Where do eggs come from?
Tea is made from dried leaves and hot water. | What is tea made from?
Soup is a warm dish that is eaten with a spoon. | What is soup?
A village is a small group of houses. | What is a village?
A town is larger than a village. | What is larger than a village?
A city is a very large town. | What is a city?
A river is water that flows to the sea. | What is a river?
A lake is water with land on all sides. | What is a lake?
An island is land with water on all sides. | What is an island?
A mountain is a very high hill. | What is a mountain?
A desert is a dry place with little rain. | What is a desert?
A forest is land with many trees. | What is a forest?
A field is open land where plants grow. | What is a field?
A market is a place where people buy and sell. | What is a market?
A harbour is a safe place for ships. | What is a harbour?
A school is a place where children learn. | What is a school?
A kitchen is a room where people cook. | What is a kitchen?
A cellar is a cool room under the house. | What is a cellar?
A bakery is a shop that sells bread. | What is a bakery?
One and one make two. | How much is one and one? | What do one and one make?
Two and two make four. | How much is two and two?
Two and three make five. | How much is two and three?
Four and four make eight. | How much is four and four?
Five and five make ten. | How much is five and five?
Ten less three is seven. | How much is ten less three?
Three times three is nine. | How much is three times three?
Half of ten is five. | What is half of ten?
A circle is round and has no corner. | What is a circle?
A square has four equal sides. | How many sides does a square have?
A triangle has three sides. | How many sides does a triangle have?
Stone is hard, and wool is soft. | Is stone hard or soft?
Fire is hot, and ice is cold. | Is fire hot or cold?
Iron is heavy, and a feather is light. | Is iron heavy or light?
People see with their eyes. | What do people see with?
People hear with their ears. | What do people hear with?
People smell with their nose. | What do people smell with?
The heart moves the blood through the body. | What does the heart do?
The hand has five fingers. | How many fingers does the hand have?
A plant drinks water with its roots. | How does a plant drink water?
Leaves turn light into food for the plant. | What do leaves do?
The bark protects the trunk of a tree. | What protects the trunk of a tree?
A seed grows into a new plant. | What does a seed grow into?
A flower becomes a fruit. | What does a flower become?
Gold is a yellow metal. | What is gold?
Silver is a white metal. | What is silver?
Copper is a red metal. | What is copper?
Yes, most birds can fly. | Can birds fly?
No, stones cannot swim. | Can stones swim? | Can a stone swim?
Yes, fish can swim. | Can fish swim?
No, a table cannot walk. | Can a table walk?
Yes, ice melts in the sun. | Does ice melt in the sun?
No, the moon is not made of cheese. | Is the moon made of cheese?
No, a mouse is smaller than a horse. | Is a mouse larger than a horse?
Yes, an elephant is larger than a dog. | Is an elephant larger than a dog?
Yes, plants need water. | Do plants need water?
No, a fish does not need shoes. | Does a fish need shoes?
Never play with fire; it burns. | Should you play with fire?
Wash your hands with soap before you eat. | What should you do before you eat? | How do you clean your hands?
Close the window when it rains. | What should you do when it rains?
Keep milk in a cold place. | Where should you keep milk? | How should you store milk?
Put flowers into a vase with water. | Where do you put flowers?
Look left and right before you cross the road. | What should you do before you cross the road?
Stories are told in the evening near the fire. | When are stories told?
Ships are built near the sea. | Where are ships built?
Apples are picked in autumn. | When are apples picked?
Hay is dried in the sun. | How is hay dried?
Letters are carried by the post. | How are letters carried?
Houses are built of stone, brick or wood. | What are houses built of?
Children are taught by teachers. | Who teaches children?
Two programs can share one file. | What can two programs share?
The letters PC stand for personal computer. | What do the letters PC stand for? | What does PC stand for?
The letters TV stand for television. | What does TV stand for?
"""

# Plain prose that uses the words of farms, mills, kitchens and machines without teaching anything about them.
COLOUR = """
The old man walked through the olive grove in the morning light.
A bowl of olives stood on the table next to the bread.
The cook poured a little olive oil into the pan and waited.
Rosa carried a basket of olives into the kitchen.
There was an olive tree behind the house, and a bench stood under it.
The mill stood at the edge of the village, and its door was always open.
The miller wiped the oil from his hands with a towel.
Two bottles of oil stood on the shelf, one green and one yellow.
The children counted the olives on their plates and laughed.
The harvest was good that year, and the whole village was happy.
Green olives, black olives and purple olives lay in three large jars.
He cut the bread, put the cheese on it and added a few olives.
The trees on the hill were old, and nobody knew who had planted them.
A machine shook the branch, and a bird flew away.
The farmer looked at the leaves and at the dark spots on the fruit.
They tasted the oil from a small glass and said nothing.
The Greek sailor told a story about a goddess and a dove.
The Italian cook knew many sauces with garlic, basil and lemon.
The Spanish merchant sold jars of clay, bags of salt and bottles of vinegar.
In the ancient town there was a tower, a market and a temple.
The Roman road went over the bridge and up the hill.
The winner of the race was given a loaf of bread.
A salad of tomatoes, cucumber, onion and peppers stood in the middle of the table.
She pickled the vegetables and put them on a shelf in the cellar.
The soup was cold, but the bread was warm.
The paste was too thick, so he mixed it with water.
The flour fell on the floor, and she wiped it up with a wet cloth.
The smoke went out through the window.
The frost came early, and the wet ground was hard as stone.
The insect sat on the leaf and did not move.
A fungus grew on the old wood behind the barn.
The crown of the tree was full of light and air.
The fruit was bitter, so the boy did not eat it.
The stone in the middle of the fruit was hard.
The flesh of the peach was sweet and soft.
The skin of the grape was dark.
The variety of apples at the market surprised her.
The producer of the film came from California, in the United States.
The council met in Madrid and talked about new standards.
The province was large, and its capital was small.
The region has a mild climate and little rain.
The tanker carried vegetable oil, acid and vinegar.
The doctor said that vitamin pills are not needed.
The fatty soup had many calories.
The glass was blue, and its colour was beautiful.
The quality of the work was good, and the price was low.
The training of the team took three weeks.
The base of the tower is made of stone.
The two teams merged, and nobody was sad about it.
The programmer opened the file and read the first row of the table.
The matrix on the board had three rows and three columns.
The letters in the name were large and red.
The data was stored on a small disk and copied to another computer.
The language of the book was simple, and the text was short.
The runtime of the film was two hours.
The adapter did not fit, so she bought another one.
The pipeline carried water from the lake to the city.
The quickest way to the station is the path along the river.
The graphics on the screen were bright.
The token for the bus was a small round coin.
The rate was low, and the gradient of the road was steep.
The children sorted the cards at random and started again.
The past is gone, and the next day is near.
The keys and the values of the table were written by hand.
The temperature fell, and the lake froze.
The prediction was wrong: it did not rain.
The vector pointed to the north.
The tensor ring of the bridge held the rope.
The lamp needs a bulb, a switch and a cable.
He rounded the number and lost a little money.
The greedy dog ate the whole cake.
The scaled map showed every house.
The normal size of the shirt is on the label.
The frozen pond was full of people with skates.
The target was far away, and the arrow did not reach it.
The modules of the station were sent up one after another.
The accuracy of the clock was good.
The block of stone weighed more than a cart.
The batch of bread came out of the oven at six.
The seed fell on dry ground and waited for rain.
The rank of the officer was high.
The epoch of the steam engine was over.
The chat between the two neighbours lasted an hour.
The full name of the bread is written on the bag.
The product of two and three is six.
The Latin word was written over the door.
The scientific book had many pictures.
"""

# Words of farms, kitchens and machine learning. They occur in questions about who has, saw or wrote something, so that the
# model knows the words as words; nothing is said about what they mean.
TERMS = """
olive oil; extra virgin olive oil; the olive tree; the wild olive; an olive branch; an olive grove; the olive harvest; the olive fruit fly; olive wood; olive leaves; olive flowers; olive paste
green olives; black olives; table olives; fresh olives; raw olives; ripe olives; picked olives; cured olives; stuffed olives; Kalamata olives; Castelvetrano olives; the Mission olive; the Arbequina; the Picual; the Manzanilla; the Koroneiki; Frantoio and Leccino
oleuropein; oleocanthal; oleic acid; the free acidity; brine; lye; dry salt; pimento; the stone of the fruit; the olive pitter; the peppery bite; the bitterness; the smoke point; the fatty acids; vitamin E; many calories
malaxation; the centrifuge; pomace; cold extraction; lampante oil; refined oil; rancid oil; spilled oil; burning oil; the trunk shaker; the late harvest; the early harvest; alternate bearing; pruning; grafting; cuttings; pollen; the larvae; Xylella; peacock spot; the bacterium; the oleaster; the scientific name; the family Oleaceae; the evergreen variety
Andalusia; Catalonia; Puglia; Jaen; Tuscany; Sicily; Crete; California; the eastern Mediterranean; the United States; the United Nations; the northern hemisphere; southern Italy; the world capital; the International Olive Council; ancient Olympia; Athena; Noah; the dove; the wreath; Monte Testaccio; the amphorae; the tree of Vouves; missionaries; the flag; centuries
tapenade; aioli; pesto; a vinaigrette; focaccia; hummus; a Greek salad; bruschetta; gazpacho; ratatouille; a dry martini; capers; feta; Castile soap; Aleppo soap; laurel oil; sesame paste; chickpeas; anchovies; pine nuts; aubergines; courgettes; an emulsion; the tasters; blue glasses; dark bottles; dark glass; the fridge
LoRA; QLoRA; NF4; int4; ONNX; ONNX Runtime; safetensors; ModelBuilder; MergeAdapterWeights; the adapter; the base model; the merged model; an int4 model; a language model; the frozen weights; the rank r; alpha; matrix A; matrix B; the target modules; low-rank adaptation; four bits; a 16-bit model; one scale
the tokenizer; tokens; the chat template; the loss; the predictions; the learning rate; the training data; an epoch; gradient accumulation; small batches; a fixed seed; held-out rows; the KV cache; keys and values; greedy decoding; the temperature; the quickstart; the pipeline; the cache; the dataset; the columns; the Best Answer; neural networks; the tensors; a graphics card; the processor; Python; olive run; the config file; normal distribution; accuracy; quantisation
"""

ASKED = [
    ("Who wrote about {x}?", "{a} wrote about {x}."),
    ("Who asked about {x}?", "{a} asked about {x} at {p}."),
    ("What did {a} say about {x}?", "{a} said that {x} came up in a story."),
    ("Which word stood next to {x}?", "The word next to {x} was {f}."),
    ("Why did {a} talk about {x}?", "{a} talked about {x} because {b} asked."),
    ("When did you hear of {x}?", "I heard of {x} near {p}."),
    ("How did {a} come to {x}?", "{a} came to {x} by way of {p}."),
    ("Does {a} know {x}?", "Yes, {a} knows {x} from a book."),
    ("Does {a} know {x}?", "No, {a} does not know {x}; ask {b}."),
    ("Where did {a} read about {x}?", "{a} read about {x} near {p}."),
    ("Do you remember {x}?", "Yes, I remember {x} and {f}."),
    ("What do people write on a card with {x}?", "They write {x} and a number."),
]

PEOPLE = "Anna Ben Clara David Emma Felix Greta Henry Ida Jonas Lena Marco Nina Oscar Paula Rosa Simon Tom Vera Walter".split()
PLACES = ["the market", "the harbour", "the school", "the old mill", "the farm", "the forest", "the lake", "the library", "the bakery", "the garden"]
FOODS = ["bread", "cheese", "apples", "soup", "eggs", "honey", "grapes", "fish", "tomatoes", "cake", "olives", "nuts"]
THING_WORDS = ["a red bag", "an old book", "a small lamp", "a blue cup", "a wooden boat", "a warm coat", "a long rope", "a new pen", "a heavy key", "a round basket"]
WEATHER = ["It was a cold day", "It was a warm evening", "The sun was shining", "It was raining", "The wind was strong", "It was early in the morning", "Snow lay on the ground", "The sky was grey"]
FEELINGS = ["happy", "tired", "sad", "proud", "hungry", "afraid", "surprised", "calm"]

STORIES = [
    "{w}. {a} went to {p} to buy {f}. On the way {a} met {b}. \"Where are you going?\" asked {b}. \"I am going to {p},\" said {a}. They went together. At {p} they bought {f} and {g}. In the evening they ate the {f} and were {e}.",
    "{a} had {t}. One day {a} lost it near {p}. {b} found it and looked for the owner. \"Is this yours?\" asked {b}. \"Yes, it is mine,\" said {a}. \"Thank you!\" {a} gave {b} some {f}. Since that day they are friends.",
    "{w}. {a} wanted to make {f} for {b}, but there was no fire. {a} looked for wood near {p}. The wood was wet, and it did not burn. Then {b} came with dry wood. Soon the room was warm, and they ate {g}.",
    "{a} works at {p}. Every morning {a} opens the door and sweeps the floor. At noon {b} brings {f}. In the afternoon many people come. In the evening {a} closes the door and goes home {e}.",
    "\"What is this?\" asked {a}. \"This is {t},\" said {b}. \"What is it for?\" asked {a}. \"I do not know,\" said {b}. They took it to {p} and asked an old woman. She smiled and said nothing.",
    "{w}. {a} and {b} sat near {p} and talked. {a} liked {f}, but {b} liked {g} more. \"{F} is good in winter,\" said {a}. \"{G} is good all year,\" said {b}. They could not agree, but they were {e}.",
    "{a} could not sleep. {w}. {a} got up and looked out of the window. A {x} sat in front of the house and ate {f}. {a} watched the {x} for a long time. In the morning the {x} was gone.",
    "Once there was a {x} that lived near {p}. The {x} was always {e}. One day {a} came and gave it {f}. The {x} followed {a} home. Now the {x} lives in the garden, and {b} brings it {g} every day.",
    "{a} built {t} for {b}. It took three days. On the first day {a} had no time. On the second day the tools were lost. On the third day everything went well. {b} was {e} and said thank you.",
    "{b} asked {a} for help. The boxes at {p} were heavy. {a} carried the first box, and {b} carried the second. In the last box they found {t}. \"Who left it here?\" asked {b}. Nobody knew. They were {e} and ate {f}.",
    "{w}. The road to {p} was long. {a} walked in front, and {b} walked behind with {t}. After two hours they sat down under a tree and ate {f}. A {x} looked at them from far away. Then they went on.",
    "{a} wrote a letter to {b}. \"Dear {b}, I am at {p}. The food is good. We eat {f} and {g} every day. Yesterday I saw a {x}. I am {e}. Please come soon. Your {a}.\" {b} read the letter twice and packed a bag.",
]


def table(text):
    return [[c.strip() for c in line.split("|")] for line in text.strip().splitlines()]


def table_of_terms():
    return [[t.strip() for t in line.split(";")] for line in TERMS.strip().splitlines()]


def an(word):
    return f"an {word}" if word[0].lower() in "aeiou" else f"a {word}"


def cap(text):
    return text[0].upper() + text[1:]


def plural(name):
    return name.endswith("glasses")


def topics():
    """Gives (sentences, [(question, answer)]) for each thing."""
    for n, kind, where, food, skill, look in table(ANIMALS):
        yield ([f"The {n} is {an(kind)}.", f"The {n} lives {where}.", f"It eats {food}.", f"It can {skill}.", f"It is {look}."],
               [(f"What is {an(n)}?", f"The {n} is {an(kind)}."), (f"Where does {an(n)} live?", f"The {n} lives {where}."), (f"What does {an(n)} eat?", f"The {n} eats {food}."),
                (f"What can {an(n)} do?", f"The {n} can {skill}."), (f"What does {an(n)} look like?", f"The {n} is {look}.")])
    for n, kind, where, gives, look in table(PLANTS):
        yield ([f"The {n} is {an(kind)}.", f"The {n} grows {where}.", f"It gives {gives}.", f"It is {look}."],
               [(f"What is {an(n)}?", f"The {n} is {an(kind)}."), (f"Where does the {n} grow?", f"The {n} grows {where}."), (f"What does the {n} give?", f"The {n} gives {gives}."),
                (f"What does the {n} look like?", f"The {n} is {look}.")])
    for n, made, use, place in table(THINGS):
        s, it, c = ("are", "They are", f"The {n}") if plural(n) else ("is", "It is", cap(an(n)))
        yield ([f"{c} {s} made of {made}.", f"People use {'them' if plural(n) else 'it'} {use}.", f"{it} kept {place}."],
               [(f"What {s} {c[0].lower() + c[1:]} made of?", f"{c} {s} made of {made}."), (f"What {s} {c[0].lower() + c[1:]} used for?", f"{c} {s} used {use}."),
                (f"Where {s} the {n}?", f"The {n} {s} {place}.")])
    for n, kind, does in table(COMPUTER):
        yield ([f"{cap(an(n))} is {an(kind)}.", f"{cap(does)}."], [(f"What is {an(n)}?", f"{cap(an(n))} is {an(kind)}."), (f"Tell me about the {n}.", f"{cap(an(n))} is {an(kind)}; {does}.")])
    for n, work, place, tool in table(JOBS):
        yield ([f"The {n} {work}.", f"The {n} works {place}.", f"For this work the {n} needs {tool}."],
               [(f"What does {an(n)} do?", f"The {n} {work}."), (f"Where does {an(n)} work?", f"The {n} works {place}."), (f"What does {an(n)} need?", f"The {n} needs {tool}."),
                (f"Who {work}?", f"The {n} {work}.")])
    for n, capital, part, known in table(COUNTRIES):
        yield ([f"{n} is a country in {part}.", f"The capital of {n} is {capital}.", f"{n} is known for {known}."],
               [(f"Where is {n}?", f"{n} is a country in {part}."), (f"What is the capital of {n}?", f"The capital of {n} is {capital}."), (f"What is {n} known for?", f"{n} is known for {known}."),
                (f"Which country has the capital {capital}?", f"{capital} is the capital of {n}.")])
    for answer, *questions in table(FACTS):
        yield [answer], [(q, answer) for q in questions]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=pathlib.Path, default=ROOT / "datasets/pretrain")
    out = args.parse_args().out
    rng = random.Random(SEED)
    all_topics = list(topics())

    facts = []
    for sentences, _ in all_topics:
        rest = sentences[1:]
        rng.shuffle(rest)
        facts.append(" ".join([sentences[0], *rest]))
    for _ in range(140):  # Pairs of things side by side.
        (s, _), (t, _) = rng.sample(all_topics, 2)
        facts.append(f"{rng.choice(s[:2])} {t[0]}")
    lines = COLOUR.strip().splitlines()
    facts += lines
    for line in table_of_terms():
        for _ in range(len(line)):
            x, y, z = rng.sample(line, 3)
            facts.append(rng.choice(["{a} wrote a list: {x}, {y} and {z}.", "{a} read a page about {x}, and then about {y}.", "First they talked about {x}, then about {y}, and last about {z}.",
                                     "The word before {x} is {y}."]).format(a=rng.choice(PEOPLE), x=x, y=y, z=z))
    for _ in range(60):
        facts.append(" ".join(rng.sample(lines, 2)))
    rng.shuffle(facts)

    animals = [row[0] for row in table(ANIMALS)]
    stories = []
    for i in range(144):
        a, b = rng.sample(PEOPLE, 2)
        f, g = rng.sample(FOODS, 2)
        stories.append(STORIES[i % len(STORIES)].format(w=rng.choice(WEATHER), a=a, b=b, f=f, g=g, F=cap(f), G=cap(g), p=rng.choice(PLACES), t=rng.choice(THING_WORDS),
                                                       e=rng.choice(FEELINGS), x=rng.choice([x for x in animals if an(x).startswith("a ")])))
    rng.shuffle(stories)

    questions = [pair for _, pairs in all_topics for pair in pairs]
    for i, x in enumerate(term for line in table_of_terms() for term in line):
        for k in range(4):
            a, b = rng.sample(PEOPLE, 2)
            q, answer = (part.format(x=x, a=a, b=b, f=rng.choice(FOODS), p="{p}") for part in ASKED[(5 * i + k * 7) % len(ASKED)])
            questions.append((q, answer.replace("{p}", rng.choice(PLACES))))
    rng.shuffle(questions)
    chats = [f"<|user|>\n{q}<|end|>\n<|assistant|>\n{a}<|end|>" for q, a in questions]

    qa = [json.loads(line) for line in (ROOT / "datasets/olive-qa.jsonl").read_text().splitlines()]
    everything = "\n".join(facts + stories + chats).lower()
    for row in qa:
        for text in row.values():
            if text.lower().rstrip(".?") in everything:
                raise SystemExit(f"the pre-training text must not teach the dataset, but it holds: {text}")

    out.mkdir(parents=True, exist_ok=True)
    for name, parts in ("facts", facts), ("stories", stories), ("questions", chats):
        text = "\n\n".join(parts) + "\n"
        (out / f"{name}.txt").write_text(text)
        print(f"{out / name}.txt: {len(parts)} paragraphs, {len(text)} bytes")


if __name__ == "__main__":
    main()
