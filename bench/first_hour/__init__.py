"""What the first hour with one's own documents is like: are facts cited right, are follow-ups found, how soon comes an answer?"""
