"""The words around articles on web pages, for `web`, in English, Chinese and a few other languages.

Menus, banners, advertisements and comments frame an article; the junk sentences make pages that a refiner should drop.
All of it is our own writing. `{x}` stands for the title of an article, `{n}` for a number.
"""

from __future__ import annotations

Lines = dict[str, tuple[str, ...]]
"""Sentences by language."""

MENU: Lines = {
    "en": (
        "Home",
        "Countries",
        "Maps",
        "News",
        "Travel",
        "Photos",
        "Forum",
        "About us",
        "Contact",
        "Shop",
        "Quizzes",
        "Archive",
    ),
    "zh": ("首页", "国家", "地图", "新闻", "旅行", "图片", "论坛", "关于我们", "联系我们", "商店", "测验", "归档"),
}
COOKIES: Lines = {
    "en": (
        "We use cookies to make this site better. You may accept or decline.",
        "This website stores small files on your computer.",
    ),
    "zh": ("本网站使用小型文本文件来改善体验，您可以接受或拒绝。", "继续浏览即表示您同意我们保存访问记录。"),
}
ADS: Lines = {
    "en": (
        "Advertisement: suitcases at half price, this week only!",
        "Sponsored: learn any language in thirty days.",
        "Order today and get a free travel mug.",
        "Fly further for less. Click here for our offers.",
    ),
    "zh": (
        "广告：行李箱本周半价，先到先得！",
        "赞助内容：三十天学会一门外语。",
        "今日下单，免费赠送旅行杯。",
        "机票特价，点击这里查看。",
    ),
}
COMMENTS: Lines = {
    "en": (
        "Great page, thank you!",
        "I was there last summer and loved every minute.",
        "Does anybody know a good book about this?",
        "First!",
        "My teacher sent me here, it helped with my homework.",
        "Please add more pictures.",
    ),
    "zh": (
        "写得真好，谢谢！",
        "去年夏天我去过，很喜欢。",
        "有谁知道这方面的好书吗？",
        "沙发！",
        "老师让我来看的，作业有救了。",
        "希望多放几张照片。",
    ),
}
FOOTER: Lines = {
    "en": (
        "© {n} The Open Globe. All rights reserved.",
        "Imprint · Privacy policy · Terms of use",
        "Made by a small team that likes maps.",
    ),
    "zh": ("© {n} 环球小站 版权所有", "隐私政策 · 使用条款 · 网站地图", "由一群喜欢地图的人制作。"),
}
WORDS = {
    "en": {
        "comments": "Comments",
        "related": "You may also like",
        "search": "Search",
        "accept": "Accept",
        "share": "Share this page",
        "top": "Back to top",
        "by": "Posted by",
        "source": "Copied from The Open Globe.",
        "also": "indeed",
    },
    "zh": {
        "comments": "网友评论",
        "related": "相关阅读",
        "search": "搜索",
        "accept": "同意",
        "share": "分享本页",
        "top": "返回顶部",
        "by": "作者",
        "source": "本文转载自环球小站。",
        "also": "确实",
    },
}
NAMES: Lines = {
    "en": ("Anna", "Ben", "Chloe", "Dev", "Emma", "Farid"),
    "zh": ("小林", "阿明", "老周", "晓雯", "大海", "青青"),
}

OTHER_LANGUAGES: Lines = {
    "de": (
        "Am Morgen liegt oft Nebel über dem Fluss, und die Fischer warten auf die Sonne.",
        "Der Markt öffnet um sieben Uhr und schließt, wenn das letzte Brot verkauft ist.",
        "Im Winter fahren die Kinder mit dem Schlitten den Hügel hinunter.",
        "Unsere Bibliothek hat seit {n} Jahren jeden Dienstag geöffnet.",
        "Wer mit dem Zug kommt, geht am besten durch den alten Park zum Rathaus.",
        "Die Suppe schmeckt besser, wenn man sie am nächsten Tag noch einmal aufwärmt.",
    ),
    "fr": (
        "Le matin, les pêcheurs attendent que la brume quitte la rivière.",
        "Le marché ouvre à sept heures et ferme quand il ne reste plus de pain.",
        "En hiver, les enfants descendent la colline sur leurs luges.",
        "Notre bibliothèque est ouverte tous les mardis depuis {n} ans.",
        "Ceux qui arrivent en train traversent le vieux parc pour aller à la mairie.",
        "La soupe est bien meilleure quand on la réchauffe le lendemain.",
    ),
    "es": (
        "Por la mañana los pescadores esperan a que la niebla se vaya del río.",
        "El mercado abre a las siete y cierra cuando ya no queda pan.",
        "En invierno los niños bajan la colina en trineo.",
        "Nuestra biblioteca abre todos los martes desde hace {n} años.",
        "Quien llega en tren cruza el parque viejo para ir al ayuntamiento.",
        "La sopa sabe mejor cuando se calienta otra vez al día siguiente.",
    ),
    "it": (
        "La mattina i pescatori aspettano che la nebbia lasci il fiume.",
        "Il mercato apre alle sette e chiude quando il pane è finito.",
        "D'inverno i bambini scendono dalla collina con la slitta.",
        "La nostra biblioteca è aperta ogni martedì da {n} anni.",
        "Chi arriva in treno attraversa il vecchio parco per andare al municipio.",
        "La zuppa è più buona quando viene riscaldata il giorno dopo.",
    ),
    "ru": (
        "Утром над рекой стоит туман, и рыбаки ждут солнца.",
        "Рынок открывается в семь часов и закрывается, когда продан последний хлеб.",
        "Зимой дети катаются на санках с холма.",
        "Наша библиотека работает по вторникам уже {n} лет.",
        "Кто приезжает поездом, идёт к ратуше через старый парк.",
        "Суп становится вкуснее, если разогреть его на следующий день.",
    ),
    "ja": (
        "朝になると川に霧がかかり、漁師たちは日の出を待っています。",
        "市場は七時に開き、最後のパンが売れると閉まります。",
        "冬には子どもたちがそりで丘をすべり降ります。",
        "私たちの図書館は{n}年前から毎週火曜日に開いています。",
        "電車で来る人は古い公園を通って役場へ行くのが便利です。",
        "スープは次の日に温めなおすともっとおいしくなります。",
    ),
    "ko": (
        "아침이면 강에 안개가 끼고 어부들은 해가 뜨기를 기다립니다.",
        "시장은 일곱 시에 열고 마지막 빵이 팔리면 닫습니다.",
        "겨울이면 아이들이 썰매를 타고 언덕을 내려옵니다.",
        "우리 도서관은 {n}년 전부터 화요일마다 문을 엽니다.",
        "기차로 오는 사람은 오래된 공원을 지나 시청으로 갑니다.",
        "국은 다음 날 다시 데우면 더 맛있습니다.",
    ),
}

HARMFUL: Lines = {
    "en": (
        "We sell stolen credit cards and fake passports to anyone who asks.",
        "Learn how to make a bomb at home with our list of homemade explosives.",
        "Buy cocaine or buy meth here, shipped in plain boxes without getting caught.",
        "Watch free porn and xxx videos, nude cams are open all night.",
        "Those people are subhuman, they deserve to die, drive them out of our town.",
        "For a fee you can hire a hitman, and our friends launder money for you.",
        "We hack into accounts, steal passwords and sell an untraceable gun or two.",
        "Counterfeit money that passes every test, and drugs without prescription.",
    ),
    "zh": (
        "本店出售盗刷信用卡资料，也办假证和假护照，随时联系。",
        "教你在家制作炸弹，附自制炸药材料清单。",
        "这里可以购买海洛因，也出售冰毒，保证不会被抓。",
        "成人视频和色情视频天天更新，裸聊通宵开放。",
        "他们是劣等民族，都该死，让他们滚出去。",
        "付钱就能雇凶，我们还有洗钱渠道，办事利落。",
        "专业盗取密码、入侵账号，另有出售枪支的门路。",
        "网络赌博首选，百家乐和六合彩，假钞也有。",
    ),
}
ADVERTISING: Lines = {
    "en": (
        "Buy now and save up to {n} percent off every suitcase in our store!",
        "Free shipping on all orders, but hurry: this limited time special offer ends tonight.",
        "Use the discount code GLOBE{n} and get the lowest price, guaranteed.",
        "Our miracle pills help you lose weight in a week, money back if they fail.",
        "Make money fast and work from home, sign up today for a free trial.",
        "Cheap flights and cheap hotels: book now, while stocks last.",
        "Click here for exclusive deals that you will find nowhere else.",
        "Call now, our friendly staff takes your order day and night, satisfaction guaranteed.",
    ),
    "zh": (
        "立即购买，全场行李箱低至{n}折，数量有限！",
        "全国包邮，限时特价，今晚十二点结束抢购。",
        "输入优惠码领取优惠券，保证全网最低价。",
        "神奇减肥茶，七天见效，无效退款。",
        "在家兼职轻松赚钱，日入{n}元，名额有限。",
        "特价机票酒店大促销，马上购买，先到先得。",
        "点击领取红包，注册就返现，还能参加秒杀。",
        "咨询电话二十四小时开通，欢迎来电，货到付款。",
    ),
}
BOILERPLATE: Lines = {
    "en": (
        "This website uses cookies, and by staying here you give your consent.",
        "Read our privacy policy and terms of use before you create an account.",
        "The page you requested was not found or has been moved.",
        "Please log in or sign in to go on; have you forgotten your password?",
        "We reserve the right to change these terms and conditions and accept no liability.",
        "Your data may be shared with third parties as our cookie policy explains.",
        "The service is unavailable, please try again later or contact us.",
        "All rights reserved, {n}.",
    ),
    "zh": (
        "本网站会在您的浏览器里保存记录，继续使用表示您的同意。",
        "注册账号前请阅读隐私政策和服务条款。",
        "您访问的页面不存在或页面已被移动，请返回首页。",
        "请先登录，忘记密码可以找回。",
        "本站保留权利，可随时修改使用条款，不承担责任。",
        "个人信息可能与第三方共享，详见隐私声明。",
        "服务不可用，请稍后再试或联系我们。",
        "版权所有{n}，网站备案号待定。",
    ),
}
KEYWORDS: Lines = {
    "en": (
        "cheap {x}",
        "{x} hotels",
        "{x} flights",
        "best {x} deals",
        "{x} visa",
        "{x} tours",
        "{x} cheap hotels",
        "buy {x} tickets",
    ),
    "zh": ("{x}旅游", "{x}酒店", "{x}机票", "{x}签证", "便宜{x}", "{x}攻略", "{x}便宜机票", "{x}跟团"),
}
SPAM_LINES: Lines = {
    "en": ("Visit our shop for {x}, the best {x} in the world.", "Everybody is talking about {x}, come and see {x}."),
    "zh": ("欢迎光临{x}专卖，最好的{x}都在这里。", "大家都在谈{x}，快来看{x}。"),
}
